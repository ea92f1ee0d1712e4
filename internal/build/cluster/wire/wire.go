// Package wire is what gitd and gitd-pod, the program in a build's Pod, say to each other.
//
// gitd sends a tar archive to the standard input of the first container, in this order: credentials, what goes into the platform
// directory, Start, the source, End. The containers answer on their standard output: those that run none of the app's code in events,
// one JSON object a line; the one that does in the raw output of detector and builder, with lines that begin with the job's marker.
package wire

import (
	"encoding/json"

	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
)

// Where the Pod's volumes are.
const (
	Workspace   = "/workspace"
	Layers      = "/layers"
	Platform    = "/platform"
	Credentials = "/gitd-credentials" // what only containers may see or write that run none of the app's code: a docker config.json, the analysis
	Cache       = "/gitd-cache"       // the app's volume, where it has one
	BuildCache  = Cache + "/build"    // the part of it that the app's code may write
	Tmp         = "/tmp"
	Bundle      = Platform + "/ca-certificates.crt" // certificate authorities of gitd's host
	Termination = "/dev/termination-log"
	Program     = "/opt/gitd/bin/gitd-pod" // in the builder image that gitd publishes
)

// Names in the archive. Those of the source follow WorkspaceEntry.
const (
	CredentialsEntry = "credentials/config.json"
	ProxyEntry       = "credentials/env/" // gitd's own proxy variables, for what talks to the registry
	BundleEntry      = "platform/ca-certificates.crt"
	EnvEntry         = "platform/env/"
	StartEntry       = "start" // credentials and platform are whole: analysis may begin
	WorkspaceEntry   = "workspace/"
	EndEntry         = "end" // the archive is whole
)

// The containers, in their order, and the first argument of gitd-pod in each.
const (
	Prepare = "prepare" // takes the source, analyzes the previous image and restores its layers; knows credentials, runs nothing of the app
	Build   = "build"   // detects and builds; knows no credentials
	Export  = "export"  // writes the image, then the cache; knows credentials, runs nothing of the app
)

// Page is the first argument of gitd-pod in the container that answers while an app is maintained.
const Page = "page"

// Stopped is the second argument of gitd-pod where that app is stopped.
const Stopped = "stopped"

// Job is the second argument of gitd-pod. Everybody who may look at the Pod can read it.
type Job struct {
	API      string `json:"api"` // platform API version
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
	Output   string `json:"output"`             // reference to push to
	RunImage string `json:"runImage"`           // reference by digest
	Previous string `json:"previous,omitempty"` // reference of the previous image, by digest
	Cache    string `json:"cache,omitempty"`    // reference of the cache image
	CacheDir string `json:"cacheDir,omitempty"` // directory of the lifecycle's cache, where it is not an image
	Insecure string `json:"insecure,omitempty"` // host of the registry that speaks plain HTTP
	Clear    bool   `json:"clear,omitempty"`    // begin with an empty cache
	Disk     int64  `json:"disk,omitempty"`     // bytes that a build may write
	MaxCache int64  `json:"maxCache,omitempty"` // bytes that the cache may keep
	Marker   string `json:"marker"`             // begins the lines that Build's container says itself
	ExecEnv  string `json:"execEnv"`
	AppDir   string `json:"appDir,omitempty"` // the app's folder in the source
	Order    string `json:"order,omitempty"`  // of detection, as TOML; "" for the builder's
}

// Event is what Prepare and Export say: one field is set.
type Event struct {
	Source   *Done     `json:"source,omitempty"` // the source is in the workspace
	Analyzed *Done     `json:"analyzed,omitempty"`
	Exported *Exported `json:"exported,omitempty"` // the image is in the registry
	Cached   *Done     `json:"cached,omitempty"`   // the cache is written
	Note     string    `json:"note,omitempty"`     // a line for people
	Failed   *Failed   `json:"failed,omitempty"`
}

// Done says that a step is over.
type Done struct {
	Milliseconds int64 `json:"ms"`
}

// Exported says where the image is.
type Exported struct {
	Digest       string `json:"digest"`
	Milliseconds int64  `json:"ms"`
}

// Failed says why a step failed.
type Failed struct {
	Phase   string `json:"phase"` // "source", "analyze", "restore", "export"
	Code    int    `json:"code,omitempty"`
	Message string `json:"message"`
}

// Words that follow the marker and a space in lines of Build's container.
const (
	MarkGroup    = "group "    // JSON of a Group
	MarkDetected = "detected " // exit status of the detector
	MarkEnded    = "ended "    // JSON of an End
)

// Group is the buildpacks that take part.
type Group struct {
	phase.Group
	Milliseconds int64  `json:"ms"`              // that detection took
	Error        string `json:"error,omitempty"` // why it cannot be read
}

// End says how detector or builder ended.
type End struct {
	Milliseconds int64  `json:"ms"`
	Code         int    `json:"code"`
	Signal       string `json:"signal,omitempty"`
	Limit        string `json:"limit,omitempty"`  // "disk": it was stopped at that limit
	Killed       bool   `json:"killed,omitempty"` // a process of it was killed for want of memory
}

// Line writes what is sent as one line.
func Line(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain types
	}
	return append(b, '\n')
}
