package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// Conflict is a field manager that owns fields which gitd wants to set.
type Conflict struct {
	Manager string
	Fields  []string // ".spec.traffic"
}

// String names the manager and its fields.
func (c Conflict) String() string {
	return fmt.Sprintf("%s (%s)", c.Manager, strings.Join(c.Fields, ", "))
}

// ConflictNote is what to do about a conflict that is not meant.
const ConflictNote = "stop that tool from managing these fields, or take the object away from gitd"

// Resource is the client for one kind of object in a namespace; "" for objects without one.
func (c *Client) Resource(gvr schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return c.Dynamic.Resource(gvr)
	}
	return c.Dynamic.Resource(gvr).Namespace(namespace)
}

// Apply sends an object by server-side apply as gitd and returns it as it stands then. obj has apiVersion, kind, name and namespace, and
// only what gitd decides on. Where others own a field with another value, gitd's holds in the end, and they are returned.
func (c *Client) Apply(ctx context.Context, gvr schema.GroupVersionResource, obj runtime.Object) (*unstructured.Unstructured, []Conflict, error) {
	u, err := Unstructured(obj)
	if err != nil {
		return nil, nil, err
	}
	body, err := json.Marshal(u)
	if err != nil {
		return nil, nil, err
	}
	r := c.Resource(gvr, u.GetNamespace())
	out, err := r.Patch(ctx, u.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: FieldManager})
	conflicts := Conflicts(err)
	if len(conflicts) > 0 {
		force := true
		out, err = r.Patch(ctx, u.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: FieldManager, Force: &force})
	}
	return out, conflicts, err
}

// Unstructured turns a typed object into what the dynamic client takes, without the fields that only the server sets.
func Unstructured(obj runtime.Object) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, err
	}
	delete(m, "status")
	scrub(m)
	return &unstructured.Unstructured{Object: m}, nil
}

// scrub drops the empty creation times that typed objects write.
func scrub(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case map[string]any:
			scrub(v)
		case nil:
			if k == "creationTimestamp" {
				delete(m, k)
			}
		}
	}
}

// Into turns what the dynamic client gave into a typed object.
func Into(u *unstructured.Unstructured, obj any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj)
}

var conflictMessage = pattern.New(`conflict with "([^"]+)"`)

// Conflicts returns the field managers that an apply ran against; none for another error.
func Conflicts(err error) []Conflict {
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	fields := map[string][]string{}
	for _, c := range status.Status().Details.Causes {
		m := conflictMessage.FindStringSubmatch(c.Message)
		if c.Type != metav1.CauseTypeFieldManagerConflict || m == nil {
			continue
		}
		fields[m[1]] = append(fields[m[1]], c.Field)
	}
	var out []Conflict
	for _, manager := range slices.Sorted(maps.Keys(fields)) {
		out = append(out, Conflict{manager, fields[manager]})
	}
	return out
}
