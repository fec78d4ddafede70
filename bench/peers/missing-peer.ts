/** A library that is not there, or could not do its work. */
export interface MissingPeer {
  name: string;
  /** Why, as a sentence without its full stop. */
  why: string;
}
