package cluster

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
)

// backstop is how long after a build's time limit the cluster ends its Pod, where gitd is not there to do it.
const backstop = time.Minute

// What a container asks a node to have free for it: a build takes what is there, up to its limits.
const (
	askedCPU    = "100m"
	askedMemory = 256 << 20
)

// spec says what a Pod is for.
type spec struct {
	name    string
	app     string
	version int
	limits  build.Limits
	job     wire.Job
	claim   string // PersistentVolumeClaim of the cache; "" for none
}

// pod is the Pod of a build.
func (e *Engine) pod(s spec) (*corev1.Pod, error) {
	job, err := json.Marshal(s.job)
	if err != nil {
		return nil, err
	}
	labels := e.labels(componentBuild, s.app)
	labels[labelVersion] = strconv.Itoa(s.version)
	prepare := e.container(s, wire.Prepare, job, writablePlatform, credentials)
	prepare.Stdin, prepare.StdinOnce = true, true
	build := e.container(s, wire.Build, job, readOnlyPlatform, corev1.VolumeMount{Name: "tmp", MountPath: wire.Tmp})
	export := e.container(s, wire.Export, job, readOnlyPlatform, credentials)

	deadline := int64((s.limits.Time + backstop).Seconds())
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: e.o.Namespace, Labels: labels},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			TerminationGracePeriodSeconds: new(int64(1)),
			ActiveDeadlineSeconds:         &deadline,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsUser: new(int64(s.job.UID)), RunAsGroup: new(int64(s.job.GID)), RunAsNonRoot: new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			InitContainers: []corev1.Container{prepare, build},
			Containers:     []corev1.Container{export},
			Volumes:        volumes(s),
			// A build on a node that is lost ends soon, for its user waits.
			Tolerations: []corev1.Toleration{
				{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(5))},
				{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(5))},
			},
		},
	}
	if s.claim != "" {
		p.Spec.SecurityContext.FSGroup = new(int64(s.job.GID))
		p.Spec.SecurityContext.FSGroupChangePolicy = new(corev1.FSGroupChangeOnRootMismatch)
	}
	if name, config, err := e.pullSecretName(); err != nil {
		return nil, err
	} else if config != nil {
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: name}}
	}
	return p, nil
}

// Mounts of the volumes that not every container sees.
var (
	writablePlatform = corev1.VolumeMount{Name: "platform", MountPath: wire.Platform}
	readOnlyPlatform = corev1.VolumeMount{Name: "platform", MountPath: wire.Platform, ReadOnly: true}
	credentials      = corev1.VolumeMount{Name: "credentials", MountPath: wire.Credentials}
)

// container is one of the Pod's, with the mounts that it has beside those of all.
func (e *Engine) container(s spec, name string, job []byte, mounts ...corev1.VolumeMount) corev1.Container {
	if s.claim != "" {
		m := corev1.VolumeMount{Name: "cache", MountPath: wire.Cache}
		if name == wire.Build { // the rest is the lifecycle's, which extracts it where credentials are
			m.MountPath, m.SubPath = wire.BuildCache, path.Base(wire.BuildCache)
		}
		mounts = append(mounts, m)
	}
	return corev1.Container{
		Name: name, Image: e.o.Pull + "/" + e.o.Builder.Image, ImagePullPolicy: corev1.PullIfNotPresent, // by digest: what is there is right
		Command: []string{wire.Program, name, string(job)},
		// The lifecycle and the buildpacks of foreign builders rely on neither; the platform's come through platform/env.
		WorkingDir:             "/",
		VolumeMounts:           append([]corev1.VolumeMount{{Name: "workspace", MountPath: wire.Workspace}, {Name: "layers", MountPath: wire.Layers}}, mounts...),
		Resources:              resources(s.limits),
		TerminationMessagePath: wire.Termination,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), RunAsNonRoot: new(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// resources are what a container may take, and what it asks for.
func resources(l build.Limits) corev1.ResourceRequirements {
	limits := corev1.ResourceList{
		corev1.ResourceMemory:           *resource.NewQuantity(l.Memory, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(l.Disk, resource.BinarySI),
	}
	asked := corev1.ResourceList{
		corev1.ResourceMemory:           *resource.NewQuantity(min(askedMemory, l.Memory), resource.BinarySI),
		corev1.ResourceCPU:              resource.MustParse(askedCPU),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(min(1<<30, l.Disk), resource.BinarySI),
	}
	if l.CPU > 0 {
		cpu := resource.NewMilliQuantity(int64(l.CPU*1000), resource.DecimalSI)
		limits[corev1.ResourceCPU] = *cpu
		if cpu.Cmp(asked[corev1.ResourceCPU]) < 0 {
			asked[corev1.ResourceCPU] = *cpu
		}
	}
	return corev1.ResourceRequirements{Limits: limits, Requests: asked}
}

// volumes are the Pod's.
func volumes(s spec) []corev1.Volume {
	var all []corev1.Volume
	empty := func(name string, size int64, medium corev1.StorageMedium) {
		all = append(all, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium, SizeLimit: resource.NewQuantity(size, resource.BinarySI)}}})
	}
	for _, name := range []string{"workspace", "layers", "tmp"} {
		empty(name, s.limits.Disk, corev1.StorageMediumDefault)
	}
	empty("platform", 16<<20, corev1.StorageMediumDefault)
	empty("credentials", 1<<20, corev1.StorageMediumMemory)
	if s.claim != "" {
		all = append(all, corev1.Volume{Name: "cache", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: s.claim}}})
	}
	return all
}

// job says what gitd-pod has to know for a build.
func (e *Engine) job(r build.Request, limits build.Limits, previous, marker string) wire.Job {
	j := wire.Job{
		API: e.o.Builder.API, UID: e.o.Builder.UID, GID: e.o.Builder.GID, ExecEnv: lifecycle.ExecEnv, Marker: marker,
		Output: fmt.Sprintf("%s/%s:v%d", e.o.Push, r.App, r.Version), RunImage: e.o.Push + "/" + e.o.Builder.RunImage,
		Clear: r.ClearCache, Disk: limits.Disk, MaxCache: limits.Cache,
	}
	if previous != "" {
		j.Previous = e.o.Push + "/" + r.App + "@" + previous
	}
	if e.o.StorageClass != "" {
		j.CacheDir = wire.Cache + "/layers"
	} else {
		j.Cache = e.o.Push + "/" + cacheRepository(r.App) + ":latest"
	}
	if e.o.Insecure {
		j.Insecure, _, _ = strings.Cut(e.o.Push, "/")
	}
	return j
}

// cacheRepository has the cache image of an app.
func cacheRepository(name string) string { return name + "/cache" }
