// Package wire is what gitd and gitd-helper, the program that reads and writes images for a build in a sandbox, say to each other.
//
// They exchange JSON, one value a line: the helper's first input is a Job, then come commands; its output is Replies.
package wire

import "github.com/gitd-io/gitd/internal/app"

// Where the helper and the build's container see the build.
const (
	Layers    = "/layers"
	Workspace = "/workspace"
	App       = "/gitd-app" // the app's directory, in the helper
)

// MaxDescription is the largest file, in bytes, in which a build may describe itself or a layer.
const MaxDescription = 4 << 20

// Kept is where cached layers are between builds, in the app's directory.
const Kept = "kept"

// Job is what the helper needs to know. It goes over a pipe, never in arguments: those can be read by every user.
type Job struct {
	Lower      []string // layers of the builder image, bottom first
	Root       string   // an empty directory to mount things on, in the helper's own mount namespace
	App        string   // the app's directory; seen as /gitd-app in the helper
	Build      string   // the build's directory, a name in App
	UID, GID   int      // of the image's files
	Owner      int      // user and group ID on the host of the build's files
	API        string   // platform API version
	ExecEnv    string   // what the image is for
	Launcher   string   // version of the lifecycle in the builder image
	Host       string   // of the registry
	Repository string
	Password   string
	Tag        string // to push to
	RunName    string // repository of the run image
	RunImage   string // its digest
	Previous   string // digest of the previous image; "" if there is none
	FileSize   int64  // limit of one file in bytes
	AppDir     string // the app's folder in the source; "" for its root

	Rebase *Rebase `json:",omitempty"` // nil for a build
}

// Rebase asks for the description of an app's image on another run image, and for nothing else of a Job.
type Rebase struct {
	Root      string // an empty directory
	App, Run  Described
	RunName   string // repository of the run image
	RunDigest string
}

// Described is an image by its manifest and its configuration.
type Described struct{ Manifest, Config []byte }

// Rebased is the image that comes of it. Its layers are those of the app and of the run image.
type Rebased = Described

// Commands to the helper.
const (
	CommandExport = "export" // the build is done
	CommandPlaced = "placed" // the blob, or the image, is in the registry
)

// Reply is what the helper says: exactly one field is set.
type Reply struct {
	Ready  bool       `json:",omitempty"` // analyzed and restored: detect and build may start
	Layer  *Layer     `json:",omitempty"` // a layer that will be in the image; nothing is answered
	Blob   *Blob      `json:",omitempty"` // a compressed layer to place in the registry
	Image  *Described `json:",omitempty"` // the image, whose layers are in the registry, to place there
	Done   *Exported  `json:",omitempty"`
	Failed *Failed    `json:",omitempty"`

	Rebased *Rebased `json:",omitempty"`
}

// MaxImage is the size in bytes of manifest and configuration beyond which the helper pushes an image, instead of telling it.
const MaxImage = 512 << 10

// Tars is the folder, below that of the helper's own files, in which the exporter writes the tars of layers.
const Tars = "tars"

// Layer is the tar of a layer, as it is until the helper is told that the layer's blob was placed.
type Layer struct {
	DiffID string
	File   string // a name in Tars
}

// Blob is a file with a compressed layer.
type Blob struct {
	Hex  string // sha256 of the file, its name too
	Size int64
}

// Exported is an image in the registry.
type Exported struct {
	Digest     string
	Processes  []app.Process
	Function   string // the label of the image that has the function that it serves; "" for none
	Reused     int
	Added      int
	AddedBytes int64
}

// Failed is why the helper ends early.
type Failed struct {
	Phase   string // "confine", "analyze", "restore", "check", "export"
	Message string
}
