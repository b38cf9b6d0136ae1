package local

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
	"barid/storage"
)

// renaming is a disk on which somebody reads a message just when its file
// has another name and the store does not know yet.
type renaming struct {
	journal.FS
	once   sync.Once
	during func()        // while a message is renamed
	missed chan struct{} // closed when a message's file was not found
	miss   sync.Once
}

func isMessage(name string) bool { return strings.Contains(name, "/cur/") }

func (d *renaming) Rename(from, to string) error {
	err := d.FS.Rename(from, to)
	if isMessage(from) && isMessage(to) {
		d.once.Do(d.during)
	}
	return err
}

func (d *renaming) OpenFile(name string, flag int) (journal.File, error) {
	f, err := d.FS.OpenFile(name, flag)
	if isMessage(name) && errors.Is(err, fs.ErrNotExist) {
		d.miss.Do(func() { close(d.missed) })
	}
	return f, err
}

// A message is there while its file gets the name that tells its flags: what
// a FETCH passes over, a client never asks for again.
func TestReadWhileFlagsGoIntoTheName(t *testing.T) {
	disk := &renaming{FS: faultfs.New(), missed: make(chan struct{})}
	cfg := faulty(faultfs.New())
	cfg.FS = disk
	s := mustOpen(t, cfg)
	defer s.Close()
	s.settler.stop()
	flags := func(f storage.Flags) step {
		return ops("flags", storage.SetFlags{Account: acct("alice"), Mailbox: "INBOX", UIDs: []storage.UID{1}, Flags: f})
	}
	must(t, s, login("alice"), ops("append", storage.Append{Account: acct("alice"), Mailbox: "INBOX", Content: mail("hello", 40)}),
		checkpointNow, flags(storage.FlagSeen))
	got := make(chan string, 1)
	var reader sync.WaitGroup
	disk.during = func() {
		reader.Go(func() { got <- read(t, s, "alice", "INBOX", 1) })
		<-disk.missed
		select {
		case text := <-got: // it gave up, or waits for the new name
			got <- text
		case <-time.After(20 * time.Millisecond):
		}
	}
	must(t, s, checkpointNow)
	reader.Wait()
	select {
	case text := <-got:
		if !strings.HasPrefix(text, "Subject: hello") {
			t.Errorf("read %s", text)
		}
	default:
		t.Error("nothing was renamed")
	}
}
