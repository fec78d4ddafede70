/** A token document for pretraining. */
export interface Document {
  id: string;
  ids: number[];
  /** One letter per token: a where the token follows from what came before, o where it is news, c for the first. */
  roles: string;
}
