package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
)

// leftovers returns what is on the machine for a data directory and is no process: control groups, interfaces, firewall tables, mounts.
func leftovers(data string) []string {
	var left []string
	name := group(data)
	id := strings.TrimPrefix(name, "gitd-")
	for _, pattern := range []string{"/sys/fs/cgroup/" + name + "*", "/sys/fs/cgroup/*/" + name + "*"} {
		dirs, _ := filepath.Glob(pattern)
		for _, d := range dirs {
			left = append(left, "control group "+d)
		}
	}
	if dirs, _ := filepath.Glob("/run/" + name); len(dirs) > 0 {
		left = append(left, "folder "+dirs[0])
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if strings.Contains(i.Name, id) {
			left = append(left, "interface "+i.Name)
		}
	}
	if out, err := exec.Command("nft", "list", "tables").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, id) {
				left = append(left, fmt.Sprintf("firewall: %s", strings.TrimSpace(line)))
			}
		}
	}
	for _, m := range mountsUnder(data) {
		left = append(left, "mount "+m)
	}
	return left
}
