package dotnet

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// callsRun finds "dotnet run" and "dotnet watch": people copy the line that they develop with.
var callsRun = pattern.New(`(?:^|[\s;&|(])dotnet\s+(?:run|watch)\b`)

// runScript stands before the runtime's dotnet where a Procfile runs projects: what was published of them starts, in its folder.
const runScript = `#!/bin/sh
# dotnet run [--project PROJECT] … [--] ARGUMENTS: the project is published.
real="$DOTNET_ROOT/dotnet"
case "${1-}" in
run) shift ;;
watch) shift; [ "${1-}" != run ] || shift ;;
*) exec "$real" "$@" ;;
esac
project=.
while [ $# -gt 0 ]; do
	case "$1" in
	--project | -p) project="${2%/}"; shift; [ $# -eq 0 ] || shift ;;
	--project=*) project="${1#*=}"; shift ;;
	-c | --configuration | -f | --framework | -r | --runtime | -v | --verbosity | --launch-profile | -lp | -a | --arch | --os | -e | --environment) shift; [ $# -eq 0 ] || shift ;;
	--no-build | --no-restore | --no-launch-profile | --no-hot-reload | --non-interactive | -q) shift ;;
	--) shift; break ;;
	*) break ;;
	esac
done
case "${project#./}" in
%CASES%esac
echo "dotnet run $project: it is not published; the app is %MAIN%" >&2
exit 127
`

// script is what "dotnet run" does when the app runs; "" where no process says it.
func (b *build) script(procs []procfile.Process) string {
	uses := false
	for _, p := range procs {
		uses = uses || callsRun.MatchString(p.Command)
	}
	if !uses {
		return ""
	}
	cases := ""
	for i, o := range b.outputs {
		if o.project == nil || o.start == nil {
			continue
		}
		names := []string{kit.Quote(o.project.path), kit.Quote(path.Dir(o.project.path))}
		if i == 0 {
			names = append(names, "'.'", "''")
		}
		line := kit.Quote(o.start[0])
		if o.start[0] == "dotnet" {
			line = `"$real" ` + kit.Quote(o.start[1])
		}
		cases += strings.Join(names, " | ") + ") cd " + kit.Quote(o.dir) + " && exec " + line + " \"$@\" ;;\n"
	}
	return strings.NewReplacer("%CASES%", cases, "%MAIN%", b.targets.main.path).Replace(runScript)
}

// writeScript puts it into a layer, before the runtime's own on the PATH.
func writeScript(layer, script string) error {
	if script == "" {
		return nil
	}
	return kit.WriteProgram(filepath.Join(layer, "bin", "dotnet"), script)
}
