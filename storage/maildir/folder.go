package maildir

import (
	"fmt"
	"slices"
	"strings"

	"barid/internal/journal"
	"barid/storage"
)

// maxFolder is how long a mailbox name may be, in octets.
const maxFolder = 200

// FolderPath gives the directory of a mailbox below that of its account, as
// Maildir++ has it: "" for INBOX, ".A.B" for the mailbox B below A. Names are
// in modified UTF-7 (RFC 3501 section 5.1.3), so ASCII. A name that no
// directory can have is storage.ErrMailboxName.
func FolderPath(mailbox string) (string, error) {
	if strings.EqualFold(mailbox, storage.InboxName) {
		return "", nil
	}
	if why := badFolder(mailbox); why != "" {
		return "", fmt.Errorf("%w: %s", storage.ErrMailboxName, why)
	}
	return "." + mailbox, nil
}

func badFolder(mailbox string) string {
	if len(mailbox) > maxFolder {
		return fmt.Sprintf("longer than %d octets", maxFolder)
	}
	for i := range len(mailbox) {
		switch c := mailbox[i]; {
		case c < ' ' || c > '~':
			return "not in printable ASCII"
		case c == '/':
			return "has a slash"
		}
	}
	for level := range strings.SplitSeq(mailbox, ".") {
		if level == "" {
			return "has an empty level"
		}
	}
	return ""
}

// FolderName gives the mailbox whose directory has that name, and false when
// it is no mailbox's.
func FolderName(dirname string) (string, bool) {
	mailbox, ok := strings.CutPrefix(dirname, ".")
	if !ok || badFolder(mailbox) != "" || strings.EqualFold(mailbox, storage.InboxName) {
		return "", false
	}
	return mailbox, true
}

// Folders lists the mailboxes that have a directory below the account's at
// path, INBOX left out, by name. An account without directory has none.
func Folders(fsys journal.FS, path string) ([]string, error) {
	entries, err := fsys.ReadDir(path)
	if ignoreMissing(err) != nil {
		return nil, fmt.Errorf("list mailboxes: %w", err)
	}
	var mailboxes []string
	for _, e := range entries {
		if mailbox, ok := FolderName(e.Name()); ok && e.IsDir() {
			mailboxes = append(mailboxes, mailbox)
		}
	}
	slices.Sort(mailboxes)
	return mailboxes, nil
}
