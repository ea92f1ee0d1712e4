package sandbox

import (
	"github.com/gitd-io/gitd/internal/app"
)

// The helper and we exchange JSON, one value a line: its first input is a job, then commands; its output is replies.

// job is what the helper needs to know. It goes over a pipe, never in arguments: those can be read by every user.
type job struct {
	Lower      []string // layers of the builder image, bottom first
	Root       string   // an empty directory to mount things on, in the helper's own mount namespace
	App        string   // the app's directory; seen as appDir in the helper
	Build      string   // the build's directory, a name in App
	UID, GID   int      // of the image's files
	Owner      int      // user and group ID on the host of the build's files
	API        string   // platform API version
	Launcher   string   // version of the lifecycle in the builder image
	Host       string   // of the registry
	Repository string
	Password   string
	Tag        string // to push to
	RunImage   string // digest
	Previous   string // digest of the previous image; "" where there is none
	FileSize   int64  // limit of one file in bytes
}

// Commands of the parent.
const (
	cmdExport = "export" // the build is done
	cmdPlaced = "placed" // the blob is in the registry
)

// reply is what the helper says: exactly one field is set.
type reply struct {
	Ready  bool    `json:",omitempty"` // analyzed and restored: detect and build may start
	Blob   *blob   `json:",omitempty"` // a compressed layer to place in the registry
	Done   *export `json:",omitempty"`
	Failed *failed `json:",omitempty"`
}

type blob struct {
	Hex  string // sha256 of the file, its name too
	Size int64
}

type export struct {
	Digest     string
	Processes  []app.Process
	Reused     int
	Added      int
	AddedBytes int64
}

type failed struct {
	Phase   string // "confine", "analyze", "restore", "check", "export"
	Message string
}
