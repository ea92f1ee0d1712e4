package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/sandbox"
	"github.com/gitd-io/gitd/internal/store"
)

// Purge removes everything that a data directory has put on the machine, or on its cluster, and the directory. It returns an *app.Error
// while a server works on it, where the cluster cannot be reached, and for a folder that is not a data directory.
func Purge(ctx context.Context, data string, log *app.Log) error {
	if _, err := os.Stat(data); err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	if err := isData(data); err != nil {
		return err
	}
	l, err := lock(data)
	if err != nil {
		return err
	}
	defer func() { l.Close() }()
	onCluster, err := hasCluster(ctx, data)
	if err != nil {
		return err
	}
	if onCluster {
		l.Close() // Open takes it
		if err := purgeCluster(ctx, data, log); err != nil {
			return err
		}
		if l, err = lock(data); err != nil {
			return err
		}
	}
	s := &Server{o: offlineOptions(data, nil, nil)}
	if err := s.endProxies(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(s.path("sandbox")); err == nil {
		host, err := sandbox.Open(ctx, sandbox.Options{Dir: s.path("sandbox")})
		if err != nil {
			return err
		}
		containers, err := host.Containers(ctx)
		if err != nil {
			return err
		}
		if len(containers) > 0 {
			log.Step("Stopping what runs: containers: %d", len(containers))
		}
		for _, c := range containers {
			if err := c.Remove(ctx); err != nil {
				return err
			}
		}
		if err := host.Close(); err != nil { // the last container is gone: firewall table and control groups go with it
			return err
		}
	}
	log.Step("Removing %s", data)
	return disk.Clear(data, 5*time.Second, func(n int64) { log.Detail("%d files and folders removed", n) })
}

// isData refuses a folder that holds something else: Purge would remove it. Where a start failed early there may be no database.
func isData(data string) error {
	if _, err := os.Stat(data + "/" + databaseFile); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); !slices.Contains(ownNames, strings.TrimSuffix(name, ".new")) && !strings.HasPrefix(name, ".write-test-") && !strings.HasPrefix(name, ".new-") && !strings.HasPrefix(name, proxyFile) {
			return app.Errorf(app.CodeInvalidInput, "name gitd's own: --data DIR",
				"%s is not a data directory of gitd: it has no %s, and %s in it is not gitd's", data, databaseFile, name)
		}
	}
	return nil
}

// ownNames are what a data directory may have in it beside the database.
var ownNames = []string{lockFile, socketFile, proxyFile, stateFile, timingsFile, platformFile, instanceFile, hostKeyFile, hostKeyFile + ".pub", secretFile, databaseFile + "-wal", databaseFile + "-shm", eventsFile, eventsFile + "-wal", eventsFile + "-shm",
	"images.json", "sandbox", "registry", "layers", "platform", "builds", pullDir, "repositories", "logs", certificatesDir, authorityDir, acmeDir}

// hasCluster tells whether a data directory has apps on a cluster.
func hasCluster(ctx context.Context, data string) (bool, error) {
	before, err := platformOf(data)
	if err != nil || before == nil || before.Cluster == nil {
		return false, err
	}
	if _, err := os.Stat(data + "/" + databaseFile); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	db, err := store.Open(data + "/" + databaseFile)
	if err != nil {
		return false, err
	}
	defer db.Close()
	apps, err := db.Apps(ctx)
	return len(apps) > 0, err
}

// purgeCluster removes a data directory's apps from its cluster.
func purgeCluster(ctx context.Context, data string, log *app.Log) (err error) {
	defer func() {
		if err == nil || errors.Is(err, ErrLocked) {
			return
		}
		message, _ := app.Explain(err)
		err = app.Wrap(err, app.CodeUnavailable, "try again when it can be reached; where it is gone for good, remove "+data+"/"+platformFile+" first",
			"the apps are still on the cluster: %s", message)
	}()
	before, err := platformOf(data)
	if err != nil {
		return err
	}
	s, err := Open(ctx, offlineOptions(data, before, func(format string, a ...any) { log.Detail(format, a...) }))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Start(ctx); err != nil {
		return err
	}
	apps, err := s.store.Apps(ctx)
	if err != nil {
		return err
	}
	for _, a := range apps {
		log.Step("Removing %s from the cluster", a.Name)
		if err := s.destroy(ctx, app.Root, a.Name); err != nil {
			return err
		}
	}
	return nil
}
