package cmdeploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"barid/internal/journal"
	"barid/storage"
	"barid/storage/maildir"
)

// Export makes the accounts of a store such that Dovecot goes on with them:
// first Lists of each while the store is open and settled, then, when it is
// closed, Leave.
type Export struct {
	FS  journal.FS // the data directory
	Dir string     // of the accounts, below it
	// Tree is the same directory, to be looked at.
	Tree *Tree
}

// Lists compares the dovecot-uidlist of each mailbox with what the store knows,
// and writes those of mailboxes that never had a message: without it Dovecot
// would give them another UIDVALIDITY. It gives the highest ModSeq that clients
// may have seen. The account must be one that the store has settled.
func (e *Export) Lists(ctx context.Context, st Store, name string) (highest storage.ModSeq, found []Found, err error) {
	acct, err := st.Lookup(ctx, e.Tree.address(name))
	if err != nil {
		return 0, nil, err
	}
	infos, err := st.Mailboxes(ctx, acct)
	if err != nil {
		return 0, nil, err
	}
	for _, i := range infos {
		if i.ID == (storage.MailboxID{}) {
			continue // a subscription
		}
		modseq, why, err := e.list(ctx, st, acct, name, i.Name)
		if err != nil {
			return highest, found, err
		}
		highest = max(highest, modseq)
		if why != "" {
			f := fault(FoundMismatch, name, "is not in dovecot-uidlist as the store has it: "+why+".", `"barid store check --repair" writes it anew; then export again.`)
			f.Mailbox, f.File = i.Name, maildir.UIDListName
			found = append(found, f)
		}
	}
	return highest, found, nil
}

func (e *Export) list(ctx context.Context, st Store, acct storage.Account, name, mailbox string) (storage.ModSeq, string, error) {
	m, err := st.Open(ctx, acct, mailbox)
	if err != nil {
		return 0, "", err
	}
	defer m.Close()
	v, err := m.View(ctx)
	if err != nil {
		return 0, "", err
	}
	sub, err := maildir.FolderPath(mailbox)
	if err != nil {
		return 0, "", err
	}
	dir := path.Join(e.Dir, name, sub)
	text, err := readSmall(e.FS, path.Join(dir, maildir.UIDListName), maxUIDList)
	if errors.Is(err, fs.ErrNotExist) && len(v.Messages) == 0 {
		return v.HighestModSeq, "", e.writeList(dir, v)
	}
	if err != nil {
		return 0, "", err
	}
	list, err := maildir.ReadUIDList(bytes.NewReader(text))
	if err != nil {
		return v.HighestModSeq, err.Error(), nil
	}
	return v.HighestModSeq, differs(list, v), nil
}

// differs tells how a list is not what clients know; empty when it is.
func differs(list *maildir.UIDList, v *storage.View) string {
	if list.UIDValidity != uint32(v.UIDValidity) || list.UIDNext < uint32(v.UIDNext) {
		return fmt.Sprintf("UIDVALIDITY %d and UIDNEXT %d, not %d and %d", list.UIDValidity, list.UIDNext, v.UIDValidity, v.UIDNext)
	}
	i := 0
	for _, m := range v.Messages {
		for i < len(list.Entries) && list.Entries[i].UID < uint32(m.UID) {
			i++
		}
		if i == len(list.Entries) || list.Entries[i].UID != uint32(m.UID) {
			return fmt.Sprintf("UID %d is missing", m.UID)
		}
	}
	return ""
}

// writeList writes the list of a mailbox that is empty.
func (e *Export) writeList(dir string, v *storage.View) error {
	if err := maildir.At(e.FS, dir).Make(); err != nil {
		return err
	}
	name := path.Join(dir, maildir.UIDListName)
	f, err := e.FS.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	list := maildir.UIDList{UIDValidity: uint32(v.UIDValidity), UIDNext: uint32(v.UIDNext), GUID: v.ID.String()}
	if err := errors.Join(list.Write(f), f.Close()); err != nil {
		return err
	}
	return e.FS.Rename(name+".new", name)
}

// Leave removes this program's own files from an account: Dovecot changes the
// mailboxes, and they would be wrong afterwards. The store must be closed.
func (e *Export) Leave(name string) error {
	folders, err := maildir.Folders(e.FS, path.Join(e.Dir, name))
	if err != nil {
		return err
	}
	for _, box := range append([]string{storage.InboxName}, folders...) {
		sub, err := maildir.FolderPath(box)
		if err != nil {
			return err
		}
		if err := dropSnapshots(e.FS, path.Join(e.Dir, name, sub)); err != nil {
			return err
		}
	}
	return nil
}
