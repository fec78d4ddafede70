/** The exit status a command that ended without an error asks for. */
export class ExitStatus {
  code = 0;
}
