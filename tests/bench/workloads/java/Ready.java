import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

class Ready {
  public static void main(String[] arguments) {
    String letters = Stream.of("re", "ad", "y").collect(Collectors.joining());
    if (Pattern.matches("[a-z]+", letters)) System.out.println(String.format("%s", letters));
  }
}
