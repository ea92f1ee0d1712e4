package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"time"
)

// storageClass is the default one. Its volumes are directories of the node.
const storageClass = "standard"

const storageManifests = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: ` + storageClass + `
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: gitd.io/directory
reclaimPolicy: Delete
volumeBindingMode: Immediate
`

// provisionVolumes makes a volume for every claim of the class, for as long as the node lives. Kubernetes has a provisioner of this
// kind, for development, but its directories are only for root. It does remove them, so long as they are below /tmp.
func provisionVolumes(ctx context.Context) {
	api, err := newAPI(Dir(inCluster), "127.0.0.1:6443")
	if err != nil {
		return // the node would not have started
	}
	for ctx.Err() == nil {
		_ = api.watch(ctx, "/api/v1/persistentvolumeclaims", func(event string, claim object) {
			if event == "DELETED" || claim.text("spec", "storageClassName") != storageClass || claim.text("spec", "volumeName") != "" {
				return
			}
			_ = provision(ctx, api, claim) // another event follows a failure: the claim's status says Pending
		})
		select { // the API server ends a watch now and then, and may be down
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func provision(ctx context.Context, a *api, claim object) error {
	uid := claim.text("metadata", "uid")
	path := "/tmp/volume-" + uid
	if err := os.Mkdir(path, 0o777); err != nil && !os.IsExist(err) {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil { // the umask took some of it
		return err
	}
	volume, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "PersistentVolume",
		"metadata": object{"name": "pvc-" + uid},
		"spec": object{
			"storageClassName": storageClass, "persistentVolumeReclaimPolicy": "Delete",
			"accessModes": claim.at("spec", "accessModes"),
			"capacity":    claim.at("spec", "resources", "requests"),
			"hostPath":    object{"path": path},
			"claimRef": object{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(), "name": claim.name(),
				"uid": uid},
		},
	})
	if err != nil {
		return err
	}
	_, err = a.do(ctx, http.MethodPost, "/api/v1/persistentvolumes", "application/json", volume)
	return err
}
