package java

import "testing"

// TestCallsNode: which builds call Node.js, and which bring it by themselves.
func TestCallsNode(t *testing.T) {
	for _, tt := range []struct {
		text           string
		calls, fetches bool
	}{
		{"<executable>yarn</executable>", true, false},
		{"<executable>java</executable>", false, false},
		{"<artifactId>frontend-maven-plugin</artifactId>", false, true},
		{"task web(type: Exec) { commandLine 'npm', 'run', 'build' }", true, false},
		{`commandLine("npx", "vite", "build")`, true, false},
		{`id "com.github.node-gradle.node" version "7.1.0"`, false, true},
		{`Process("npm run build", baseDirectory.value / "ui").!`, true, false},
		{"implementation 'org.nodeware:npm:1'", false, false},
	} {
		if c, f := callsNode.MatchString(tt.text), fetchesNode.MatchString(tt.text); c != tt.calls || f != tt.fetches {
			t.Errorf("%s: %v %v", tt.text, c, f)
		}
	}
}
