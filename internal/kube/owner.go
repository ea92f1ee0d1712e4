package kube

// Labels of what gitd makes on a cluster.
const (
	ManagedBy     = "app.kubernetes.io/managed-by" // FieldManager
	InstanceLabel = "gitd.io/instance"             // which gitd, where it has a name
)

// OfAnother tells whether another gitd than the one of that name made what has the labels. "" is a gitd that is alone on its cluster.
func OfAnother(instance string, labels map[string]string) bool {
	made := labels[InstanceLabel]
	return instance != "" && made != "" && made != instance
}
