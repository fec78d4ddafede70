/** Checksums are below this. */
const MODULUS = 1_000_003;

/**
 * The script `check`, which tests the script `run` in the root. It knows the word only by a checksum, so that whoever makes it print itself
 * has not read the word.
 * @param word what `run` should print, in ASCII.
 */
export function checkScript(word: string): string {
  let sum = 0;
  for (const letter of word) sum = (sum * 31 + letter.charCodeAt(0)) % MODULUS;
  return `cd ~
printed=$("$BASH" run 2> /dev/null)
status=$?
if [[ $status != 0 ]]; then echo "failed: run ended with status $status"; exit 1; fi
sum=0
for ((i = 0; i < \${#printed}; i++)); do
  printf -v letter %d "'\${printed:i:1}"
  sum=$(((sum * 31 + letter) % ${MODULUS}))
done
if [[ $sum != ${sum} ]]; then echo "failed: run printed $printed"; exit 1; fi
echo passed
`;
}
