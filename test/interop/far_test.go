package interop

import (
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"barid/test/harness"
)

// far is an account on the relay, seen by a client of our own.
type far struct {
	t *testing.T
	c *imapclient.Client
}

func newFar(t *testing.T, r *harness.Relay, name string) far {
	t.Helper()
	c := imapclient.New(r.Dial(t, "imaps"), nil)
	t.Cleanup(func() { c.Close() })
	f := far{t, c}
	f.must("log in", c.Login(r.Address(name), harness.PasswordOf(name).Wire()).Wait())
	return f
}

func (f far) must(what string, err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatalf("on the relay: %s: %v", what, err)
	}
}

func (f far) selectMailbox(name string) uint32 {
	f.t.Helper()
	data, err := f.c.Select(name, nil).Wait()
	f.must("select "+name, err)
	return data.NumMessages
}

func (f far) append(mailbox string, flags []imap.Flag, contents ...[]byte) {
	f.t.Helper()
	for _, content := range contents {
		cmd := f.c.Append(mailbox, int64(len(content)), &imap.AppendOptions{Flags: flags})
		_, err := cmd.Write(content)
		f.must("append", err)
		f.must("append", cmd.Close())
		_, err = cmd.Wait()
		f.must("append", err)
	}
}

// some gives the UIDs of the first n messages of the selected mailbox that
// have no flag but \Seen, and at least that many.
func (f far) some(n int) imap.UIDSet {
	f.t.Helper()
	data, err := f.c.UIDSearch(&imap.SearchCriteria{
		NotFlag: []imap.Flag{imap.FlagFlagged, imap.FlagAnswered, imap.FlagDraft, imap.FlagDeleted},
	}, nil).Wait()
	f.must("search", err)
	all := data.AllUIDs()
	if len(all) < n {
		f.t.Fatalf("%d messages without flags, not %d", len(all), n)
	}
	return imap.UIDSetNum(all[:n]...)
}

func (f far) store(uids imap.UIDSet, op imap.StoreFlagsOp, flags ...imap.Flag) {
	f.t.Helper()
	f.must("store", f.c.Store(uids, &imap.StoreFlags{Op: op, Silent: true, Flags: flags}, nil).Close())
}

func (f far) move(uids imap.UIDSet, mailbox string) {
	f.t.Helper()
	_, err := f.c.Move(uids, mailbox).Wait()
	f.must("move", err)
}

func (f far) expunge(uids imap.UIDSet) {
	f.t.Helper()
	f.store(uids, imap.StoreFlagsAdd, imap.FlagDeleted)
	f.must("expunge", f.c.UIDExpunge(uids).Close())
}

// messages reads all mailboxes.
func (f far) messages() messages {
	f.t.Helper()
	mailboxes, err := f.c.List("", "*", nil).Collect()
	f.must("list", err)
	out := messages{}
	for _, m := range mailboxes {
		if f.selectMailbox(m.Mailbox) == 0 {
			continue
		}
		section := &imap.FetchItemBodySection{Peek: true}
		all, err := f.c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{
			Flags: true, BodySection: []*imap.FetchItemBodySection{section},
		}).Collect()
		f.must("fetch", err)
		for _, b := range all {
			var flags []string
			for _, flag := range b.Flags {
				flags = append(flags, flagLetter(flag))
			}
			slices.Sort(flags)
			out.add(f.t, m.Mailbox, strings.Join(flags, ""), b.FindBodySection(section))
		}
	}
	return out
}
