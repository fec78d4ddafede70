/**
 * Twelve commands that a model may write and that must never leave the sandbox. `outside` is a directory of the host, `marker` a
 * number of seconds to sleep by which survivors are found.
 */
export function hostileCommands(outside: string, marker: string): Record<string, string> {
  return {
    "rm -rf ~": `rm -rf ~ ${outside}`,
    "mv ../..": `mv ../.. gone; mv ${outside} gone; mv ../../etc gone`,
    "fork bomb": `bomb() { sleep ${marker} & bomb | bomb & }; bomb`,
    setsid: `setsid sleep ${marker} & setsid bash -c 'sleep ${marker} & disown' & sleep 0.1`,
    "absolute path": `echo broken > ${outside}/canary; cat ${outside}/secret; touch /usr/bin/planted /etc/planted`,
    "$()": `echo $(rm -rf ${outside}) $(cat ${outside}/secret)`,
    ";": `ls; rm -rf ${outside}; chmod -R 777 ${outside}`,
    "symlink out": `ln -s ${outside} link; echo broken > link/canary; cat link/secret; rm -rf link/`,
    "kill -9 -1": "bash -c 'kill -9 -1'; kill -9 -1",
    "/dev/tcp": "echo hello > /dev/tcp/127.0.0.1/PORT; exec 5<>/dev/udp/127.0.0.1/PORT; echo x >&5",
    "here-document": `cat > ${outside}/canary << END\nbroken\nEND\nbash << END\nrm -rf ${outside}\nEND`,
    "a 1 MiB line": `echo ${"a".repeat(1 << 20)} > ${outside}/canary`,
  };
}
