/**
 * A layer to whose stored data an image cannot refer, so that they have to be stored again.
 *
 * @module
 */

/** Ends the indexing of a layer. The message says what the layer is: "it is not compressed". */
export class UnreferableError extends Error {
  override readonly name = "UnreferableError";
}
