package kube

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Observed says whether the status of an object is of its present spec.
func Observed(u *unstructured.Unstructured) bool {
	n, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	return n == u.GetGeneration()
}

// Status returns the status of a condition of an object: "True", "False" or "Unknown"; "" where it has none of this type. why is its reason and message.
func Status(u *unstructured.Unstructured, kind string) (status, why string) {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range all {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return stated(m)
		}
	}
	return "", ""
}

// stated is what a condition says.
func stated(condition map[string]any) (status, why string) {
	status, _ = condition["status"].(string)
	reason, _ := condition["reason"].(string)
	message, _ := condition["message"].(string)
	return status, strings.Trim(reason+": "+message, ": ")
}

// Is says whether a condition of an object has a status.
func Is(u *unstructured.Unstructured, kind, status string) bool {
	is, _ := Status(u, kind)
	return is == status
}

// Unmet lists the conditions of an object that are not met, each as "; TYPE is STATUS: why"; "" for none.
func Unmet(u *unstructured.Unstructured) string {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	var unmet strings.Builder
	for _, c := range all {
		m, _ := c.(map[string]any)
		if status, why := stated(m); status != "True" {
			kind, _ := m["type"].(string)
			fmt.Fprintf(&unmet, "; %s is %s: %s", kind, status, why)
		}
	}
	return unmet.String()
}
