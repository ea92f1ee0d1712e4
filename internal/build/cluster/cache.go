package cluster

import (
	"cmp"
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/kube"
)

func claimName(o Options, name string) string {
	return "gitd-cache-" + name + "-" + cmp.Or(o.Instance, o.Namespace)
}

// claim returns the name of the app's PersistentVolumeClaim, made if need be, of twice the bytes that the cache may keep: it holds what
// one build adds before it is brought down to size.
func (e *Engine) claim(ctx context.Context, name string, keep int64) (string, error) {
	claim := claimName(e.o, name)
	resources := e.o.Client.Resource(claims, e.o.Namespace)
	_, err := resources.Get(ctx, claim, metav1.GetOptions{})
	if err == nil {
		return claim, nil
	}
	if !apierrors.IsNotFound(err) {
		return "", kube.Explain(err, "look for the volume of the build's cache")
	}
	u, err := kube.Unstructured(&corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: claim, Namespace: e.o.Namespace, Labels: e.labels(componentCache, name)},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &e.o.StorageClass,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(2*keep, resource.BinarySI)}},
		},
	})
	if err != nil {
		return "", err
	}
	if _, err := resources.Create(ctx, u, metav1.CreateOptions{FieldManager: kube.FieldManager}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", kube.Explain(err, "make the volume of the build's cache")
	}
	return claim, nil
}

// PurgeCache removes what the builds of an app kept. It waits for a build of the app that is under way.
func (e *Engine) PurgeCache(ctx context.Context, name string) error {
	release, err := e.sessions.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	return RemoveCache(ctx, e.o, name)
}

// RemoveCache removes what an app's builds kept, where no engine with these options runs.
func RemoveCache(ctx context.Context, o Options, name string) error {
	if n, err := app.ParseName(name); err != nil || n != name {
		return err
	}
	if o.StorageClass == "" {
		return o.Images.DeleteRepository(cacheRepository(name))
	}
	err := o.Client.Resource(claims, o.Namespace).Delete(ctx, claimName(o, name), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return kube.Explain(err, "remove the volume of the build's cache")
	}
	return nil
}
