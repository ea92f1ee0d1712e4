package fetch

import (
	"io"
	"os"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Unpack lays out an archive that was checked, of tar in any compression that the builder's tar knows, in the folder dir, which is made. strip is how
// many folders are left out of each name; names that match one of the patterns skip are left out.
func Unpack(env kit.Env, out io.Writer, archive, dir string, strip string, skip ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := []string{"tar", "-xf", archive, "-C", dir, "--strip-components=" + strip, "--no-same-owner", "--no-same-permissions", "--wildcards"}
	for _, s := range skip {
		args = append(args, "--exclude="+s)
	}
	_, err := kit.Cmd{Args: args, Env: env, Out: out, Name: "unpacking the archive"}.Run()
	return err
}
