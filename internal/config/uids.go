package config

import (
	"fmt"
	"strconv"
	"strings"
)

// UIDs is a range of user IDs.
type UIDs struct{ First, Last uint32 }

func (u UIDs) String() string { return fmt.Sprintf("%d-%d", u.First, u.Last) }

// defaultUIDs end below 2^21: the older tar formats, which some build tools write, hold no larger user ID.
var defaultUIDs = UIDs{2_000_000, 2_089_999}

// unknownUser is the ID that the kernel and many programs give to files and callers of unknown users.
const unknownUser = 65534

// parseUIDs reads "FIRST-LAST", or "FIRST" for as many as defaultUIDs has. "" is defaultUIDs.
func parseUIDs(s string) (UIDs, *problem) {
	if s == "" {
		return defaultUIDs, nil
	}
	first, last, hasLast := strings.Cut(s, "-")
	a, err := strconv.ParseUint(first, 10, 32)
	b := a + uint64(defaultUIDs.Last-defaultUIDs.First)
	if err == nil && hasLast {
		b, err = strconv.ParseUint(last, 10, 32)
	}
	if err != nil || a < 1000 || b < a || b >= 1<<31 || a <= unknownUser && unknownUser <= b {
		return UIDs{}, bad(fmt.Sprintf("give it as FIRST-LAST, such as %s, from 1000 on and without %d", defaultUIDs, unknownUser), "%q is not a range of user IDs", s)
	}
	return UIDs{uint32(a), uint32(b)}, nil
}
