package expiry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"barid/storage"
)

// Summary is one run, or how far it is.
type Summary struct {
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended,omitzero"` // zero while it runs
	DryRun bool      `json:"dry_run,omitempty"`

	Accounts        int   `json:"accounts"` // all there were
	Looked          int   `json:"looked"`   // judged so far
	RemovedAccounts int   `json:"removed_accounts"`
	Messages        int64 `json:"messages"` // all there were, as they were last counted
	RemovedMessages int64 `json:"removed_messages"`
	RemovedOctets   int64 `json:"removed_octets"`
	Strays          int64 `json:"strays,omitempty"` // removed files that were no messages
	Kept            int   `json:"kept,omitempty"`   // directories without password that are not empty
	Failed          int   `json:"failed,omitempty"` // accounts that could not be judged
}

// Status is how a Daily goes.
type Status struct {
	Last    *Summary  `json:"last,omitempty"`    // that went to its end; nil before the first
	Running *Summary  `json:"running,omitempty"` // nil while none is under way
	Next    time.Time `json:"next,omitzero"`
	Problem string    `json:"problem,omitempty"` // why the last did not go to its end
}

// take takes over what the store reports of all accounts.
func (s *Summary) take(x storage.Expired) {
	s.Accounts, s.Looked, s.RemovedAccounts = x.Of, x.Looked, x.Accounts
	s.Messages, s.RemovedMessages, s.RemovedOctets = x.Stored, x.Messages, x.Octets
	s.Strays, s.Kept, s.Failed = x.Strays, x.Kept, x.Failed
}

// Progress is what a report of all accounts says, without times.
func Progress(x storage.Expired) *Summary {
	s := new(Summary)
	s.take(x)
	return s
}

// String is the line with which a run ends, in the reference's words.
func (s *Summary) String() string {
	verb := "Removed"
	if s.DryRun {
		verb = "Would remove"
	}
	return fmt.Sprintf("%s %d out of %d mailboxes and %d out of %d files in existing mailboxes in %.1f seconds",
		verb, s.RemovedAccounts, s.Accounts, s.RemovedMessages, s.Messages, s.Ended.Sub(s.Began).Seconds())
}

// maxState bounds the state file, in octets.
const maxState = 64 << 10

// readState gives nil when there is no file.
func readState(name string) (*Summary, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return nil, err
	}
	s := new(Summary)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(name), err)
	}
	return s, nil
}

// writeState replaces the file. A crash may cost it: then a run comes too
// early, which does no harm.
func writeState(name string, s *Summary) error {
	if name == "" {
		return nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
