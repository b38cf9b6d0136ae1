package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// near is a tree of Maildirs, one for each mailbox, that a mail reader of our
// own works on.
type near struct {
	t    *testing.T
	root string
	made int // how many files it made
}

func (n *near) must(what string, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("in the Maildir: %s: %v", what, err)
	}
}

// deliver puts new messages into a mailbox.
func (n *near) deliver(mailbox string, contents ...[]byte) {
	n.t.Helper()
	dir := filepath.Join(n.root, mailbox)
	for _, sub := range []string{"tmp", "new", "cur"} {
		n.must("make a mailbox", os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	for _, content := range contents {
		name := n.name()
		write(n.t, filepath.Join(dir, "tmp", name), string(plain(content)))
		n.must("deliver", os.Rename(filepath.Join(dir, "tmp", name), filepath.Join(dir, "new", name)))
	}
}

func (n *near) name() string {
	n.made++
	return fmt.Sprintf("1795600000.%d.near", n.made)
}

// some gives the first files in a mailbox that have no flag but S.
func (n *near) some(mailbox string, want int) []string {
	n.t.Helper()
	var out []string
	for _, path := range n.files(mailbox) {
		if strings.Trim(flags(path), "S") == "" && len(out) < want {
			out = append(out, path)
		}
	}
	if len(out) < want {
		n.t.Fatalf("%d files without flags, not %d", len(out), want)
	}
	return out
}

// files gives all files of a mailbox, in the order of their names.
func (n *near) files(mailbox string) []string {
	n.t.Helper()
	var out []string
	for _, sub := range []string{"new", "cur"} {
		found, err := filepath.Glob(filepath.Join(n.root, mailbox, sub, "*"))
		n.must("list", err)
		out = append(out, found...)
	}
	slices.Sort(out)
	return out
}

// flag gives files other flags.
func (n *near) flag(paths []string, to string) {
	n.t.Helper()
	for _, path := range paths {
		base, _, _ := strings.Cut(filepath.Base(path), ":2,")
		cur := filepath.Join(filepath.Dir(filepath.Dir(path)), "cur")
		n.must("flag", os.Rename(path, filepath.Join(cur, base+":2,"+to)))
	}
}

// move puts files into another mailbox, under new names: those they had hold
// the UID in the old one.
func (n *near) move(paths []string, mailbox string) {
	n.t.Helper()
	for _, path := range paths {
		to := filepath.Join(n.root, mailbox, "cur", n.name()+":2,"+flags(path))
		n.must("move", os.Rename(path, to))
	}
}

// flags gives the flags in the name of a file.
func flags(path string) string {
	_, f, _ := strings.Cut(filepath.Base(path), ":2,")
	return f
}

// messages reads all mailboxes.
func (n *near) messages() messages {
	n.t.Helper()
	mailboxes, err := os.ReadDir(n.root)
	n.must("list", err)
	out := messages{}
	for _, m := range mailboxes {
		for _, path := range n.files(m.Name()) {
			content, err := os.ReadFile(path)
			n.must("read", err)
			out.add(n.t, m.Name(), flags(path), content)
		}
	}
	return out
}
