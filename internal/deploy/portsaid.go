package deploy

import (
	"slices"
	"strconv"

	"github.com/gitd-io/gitd/internal/pattern"
)

// tells and saidPort find a port in a line of an app that tells that it listens: "Server running at http://localhost:3000", "listening on port 3000". A platform
// that cannot look into an instance has no other source.
var (
	tells    = pattern.New(`(?i)\b(listen|listening|listens|running|started|serving|served|ready|available|bound|http)\b`)
	saidPort = pattern.New(`(?i)(?:\bport[ :=]+|(?:localhost|[0-9]|\]|\*):|^:| :)([0-9]{3,5})\b`)
)

// portsSaid returns the ports that the lines name, each once.
func portsSaid(lines []string) []int {
	var ports []int
	for _, line := range lines {
		if !tells.MatchString(line) {
			continue
		}
		for _, m := range saidPort.FindAllStringSubmatch(line, 4) {
			if p, err := strconv.Atoi(m[1]); err == nil && m[1][0] != '0' && p < 65536 && !slices.Contains(ports, p) {
				ports = append(ports, p)
			}
		}
	}
	return ports
}
