# compile.sh LOG COMMAND...: what the compiler says goes to LOG, where those who count registers find it; all of it is shown when it fails.
log=$1
shift
"$@" > "$log" 2>&1 && exit 0
status=$?
cat "$log" >&2
exit $status
