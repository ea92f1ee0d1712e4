// Package heap decides how much garbage a server lets gather before it is collected.
package heap

import "os"

// room is what garbage may take where next to nothing is held.
const room = 16 << 20

// unused is never touched, so that it takes no memory. The collector counts it as held.
var unused []byte

// Roomy has garbage collected when it takes as much as what is held and 16 MiB more. Go's own rule, as much as what is held and 4 MiB at least, collects
// a small heap too often: it costs a proxy 7 % of its requests. A larger GOGC has a large heap grow to a multiple of what it holds, which a server of a
// thousand apps does not get back. GOGC in the environment decides alone.
func Roomy() {
	if os.Getenv("GOGC") == "" {
		unused = make([]byte, room)
	}
}
