package command

import (
	"slices"

	"github.com/spf13/cobra"
)

// about is the subject of what is of no other.
const about = "About gitd"

// subject is what some commands are about.
type subject struct {
	title    string
	commands []string
}

// subjects are the commands by what they are about, as help lists them.
var subjects = []subject{
	{"Apps", []string{"apps", "functions", "previews", "config", "deploy-key"}},
	{"Releases", []string{"releases", "release", "wait", "rollback", "promote", "redeploy", "rebase", "image", "abort"}},
	{"Traffic", []string{"traffic", "maintenance"}},
	{"Processes and jobs", []string{"ps", "run", "jobs", "schedules", "logs"}},
	{"Domains", []string{"domains", "ca"}},
	{"Events", []string{"events", "triggers", "webhooks", "brokers"}},
	{"Keys", []string{"keys"}},
	{"This machine", []string{"serve", "stop", "builder", "purge", "completion"}},
	{about, []string{"version"}},
}

// group puts the commands of root under their subjects; a subject without one that is shown is left out.
func group(root *cobra.Command) {
	for _, s := range subjects {
		members := slices.DeleteFunc(slices.Clone(root.Commands()), func(c *cobra.Command) bool { return !slices.Contains(s.commands, c.Name()) || c.Hidden })
		if len(members) > 0 && !root.ContainsGroup(s.title) {
			root.AddGroup(&cobra.Group{ID: s.title, Title: s.title + ":"})
		}
		for _, c := range members {
			c.GroupID = s.title
		}
	}
	if root.ContainsGroup(about) {
		root.SetHelpCommandGroupID(about)
	}
}
