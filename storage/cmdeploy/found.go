package cmdeploy

import (
	"strings"

	"barid/internal/finding"
)

// Found is a finding and where it was found. Unlike other findings it may name
// an account: it is for who stands before the disk, never for a log.
type Found struct {
	finding.Finding
	Account string `json:"account,omitempty"`
	Mailbox string `json:"mailbox,omitempty"`
	File    string `json:"file,omitempty"` // below the account's directory, or the tree, or of the machine
}

// String gives it in one line.
func (f Found) String() string {
	var where []string
	for _, part := range []string{f.Account, f.Mailbox, f.File} {
		if part != "" {
			where = append(where, part)
		}
	}
	text := f.Severity.String() + ": "
	if len(where) > 0 {
		text += strings.Join(where, " ") + ": "
	}
	text += f.Text
	if f.Remedy != "" {
		text += " " + f.Remedy
	}
	return text
}

// The IDs of what is found in a tree.
const (
	FoundForeign    = "import.foreign"     // nothing of ours has that name; it is left alone
	FoundAddress    = "import.address"     // a directory of an address that cannot be of this relay
	FoundNoPassword = "import.no-password" // a directory that is no account's
	FoundNoHash     = "import.no-hash"     // a password that fits nobody
	FoundOwner      = "import.owner"       // files of another user
	FoundTokens     = "import.tokens"      // metadata.json is broken
	FoundUIDList    = "import.uidlist"     // no UIDs, or not all
	FoundKeywords   = "import.keywords"    // flags that clients are not shown
	FoundMailbox    = "import.mailbox"     // a mailbox that no client can name
	FoundSize       = "import.size"        // names that tell another size than the files have
	FoundDouble     = "import.double"      // two files of one message
	FoundRawLog     = "import.rawlog"      // logs of dialogues
	FoundLocked     = "import.locked"      // Dovecot holds a lock
	FoundChanged    = "import.changed"     // somebody wrote while it was copied
	FoundUnreadable = "import.unreadable"  // the disk, or the owner, does not let us
	FoundMismatch   = "import.mismatch"    // what was adopted is not what lies there
	FoundStale      = "import.stale"       // Dovecot served since this relay did
)

func info(id, account, text, remedy string) Found {
	return Found{Finding: finding.Finding{ID: id, Severity: finding.Info, Text: text, Remedy: remedy}, Account: account}
}

func warning(id, account, text, remedy string) Found {
	f := info(id, account, text, remedy)
	f.Severity = finding.Warning
	return f
}

func fault(id, account, text, remedy string) Found {
	f := info(id, account, text, remedy)
	f.Severity = finding.Fault
	return f
}

// count counts what deserves an eye.
func (s *Sum) count(f Found) {
	switch f.Severity {
	case finding.Fault:
		s.Faults++
	case finding.Warning:
		s.Warnings++
	}
}
