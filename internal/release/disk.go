package release

import (
	"fmt"
	"os"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// enoughDisk refuses a push while the disk is nearly full, before anything is written.
func (m *Machine) enoughDisk() error {
	if err := os.MkdirAll(m.o.LogDir, 0o700); err != nil {
		return err
	}
	free, err := disk.Free(m.o.LogDir)
	if err != nil {
		return fmt.Errorf("disk space: %w", err)
	}
	if short := free.Short(m.o.MinFree); short != "" {
		m.askSweep()
		return app.Errorf(app.CodeLimitExceeded, "ask the operator to free space, or destroy apps that are not needed: gitd apps destroy NAME",
			"the server's disk is nearly full: %s", short)
	}
	return nil
}
