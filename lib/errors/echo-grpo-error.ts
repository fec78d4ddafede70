/**
 * Base of every error this package throws on purpose. `code` is stable and machine-readable; the message reads
 * `[where] what is wrong: expected X, got Y. What to do.`
 */
export class EchoGrpoError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}
