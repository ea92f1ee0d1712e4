package deploy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

func (e *StartError) sentence() string {
	switch e.Reason {
	case Exited:
		if e.Signal != "" {
			return fmt.Sprintf("the app was ended by a signal (%s) before it answered", e.Signal)
		}
		return fmt.Sprintf("the app exited with status %d before it answered", e.ExitCode)
	case OutOfMemory:
		return "the app was killed at its memory limit: " + e.Detail
	case NotListening:
		if len(e.Listens) > 0 {
			ports := make([]string, len(e.Listens))
			for i, p := range e.Listens {
				ports[i] = strconv.Itoa(p)
			}
			return fmt.Sprintf("the app listens on port %s, not on $PORT (%d)", strings.Join(ports, ", "), e.Port)
		}
		return fmt.Sprintf("the app did not listen on $PORT (%d) within %s", e.Port, e.Waited.Round(time.Second))
	case ImageError:
		return "the image cannot be used: " + e.Detail
	}
	return "the app could not be started: " + e.Detail
}
