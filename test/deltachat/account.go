package deltachat

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// configureTimeout bounds Configure: the core tries each candidate of a
// server for up to a minute.
const configureTimeout = 150 * time.Second

// maxEvents bounds the events an Account keeps for WaitEvent.
const maxEvents = 20_000

// States of a message (MessageState).
const (
	StatePending   = 20 // not sent yet
	StateFailed    = 24 // the relay refused it for good
	StateDelivered = 26 // the relay took it
	StateRead      = 28 // the peer has read it

	stateSeen = 16 // incoming, and read
)

// Event is one event of an account. Fields that its kind does not have are
// zero; Raw has them all.
type Event struct {
	Kind     string          `json:"kind"` // "IncomingMsg", "ImapInboxIdle", "SecurejoinInviterProgress"
	Chat     uint32          `json:"chatId"`
	Message  uint32          `json:"msgId"`
	Contact  uint32          `json:"contactId"`
	Progress int             `json:"progress"` // of configuring and securejoin, in thousandths; 0 of configuring is failure
	Text     string          `json:"msg"`      // of Info, Warning and Error
	Raw      json.RawMessage `json:"-"`
	number   uint64          // within the account, from 1
}

// Message is what the core knows about one message.
type Message struct {
	ID            uint32 `json:"id"`
	Chat          uint32 `json:"chatId"`
	From          uint32 `json:"fromId"`
	Text          string `json:"text"`
	State         int    `json:"state"` // one of the State constants, or 10 to 16 for incoming ones
	ErrorText     string `json:"error"`
	Encrypted     bool   `json:"showPadlock"`
	Info          bool   `json:"isInfo"` // written by the core itself
	ViewType      string `json:"viewType"`
	File          string `json:"file"` // path in the account's directory
	FileName      string `json:"fileName"`
	FileBytes     int64  `json:"fileBytes"`
	DownloadState string `json:"downloadState"` // "Done", or what keeps the rest away
}

// Account is one profile of a Core. Methods fail the test when the core says
// no, and must be called by the test's own goroutine.
type Account struct {
	core *Core
	ID   uint32
	Name string

	mu      sync.Mutex // guards the fields below
	events  []Event    // that no WaitEvent took yet, oldest first
	taken   uint64     // how many ever came
	changed chan struct{}
}

// AddAccount makes a profile with a display name. It can do nothing before
// Configure.
func (c *Core) AddAccount(name string) *Account {
	c.t.Helper()
	a := &Account{core: c, Name: name, changed: make(chan struct{})}
	c.must(&a.ID, "add_account")
	c.mu.Lock()
	c.accounts[a.ID] = a
	c.mu.Unlock()
	a.SetConfig("displayname", name)
	return a
}

// Configure logs in with a "dclogin:" or "dcaccount:" URI, starts I/O and
// waits until the account is online: in IDLE on its INBOX.
func (a *Account) Configure(uri string) {
	a.core.t.Helper()
	if err := a.TryConfigure(uri); err != nil {
		a.core.t.Fatalf("%s: %v", a.Name, err)
	}
	a.WaitEvent("ImapInboxIdle", nil, time.Minute)
}

// TryConfigure is Configure that gives the core's error and does not wait.
func (a *Account) TryConfigure(uri string) error {
	err := a.core.call(configureTimeout, nil, "add_transport_from_qr", a.ID, uri)
	if !unknownMethod(err) {
		return err
	}
	// The 1.x series.
	if err := a.core.Call(nil, "set_config_from_qr", a.ID, uri); err != nil {
		return err
	}
	if err := a.core.call(configureTimeout, nil, "configure", a.ID); err != nil {
		return err
	}
	return a.core.Call(nil, "start_io", a.ID)
}

// SetConfig sets a configuration key of the core.
func (a *Account) SetConfig(key, value string) {
	a.core.t.Helper()
	a.core.must(nil, "set_config", a.ID, key, value)
}

// Config reads a configuration key; "" when it is not set.
func (a *Account) Config(key string) string {
	a.core.t.Helper()
	var value *string
	a.core.must(&value, "get_config", a.ID, key)
	if value == nil {
		return ""
	}
	return *value
}

// Address is the mail address of the account.
func (a *Account) Address() string { a.core.t.Helper(); return a.Config("configured_addr") }

// StartIO connects the account, StopIO takes it offline.
func (a *Account) StartIO() { a.core.t.Helper(); a.core.must(nil, "start_io", a.ID) }

// StopIO takes the account offline.
func (a *Account) StopIO() { a.core.t.Helper(); a.core.must(nil, "stop_io", a.ID) }

// NetworkChanged tells the core to try again now whatever it put off.
func (a *Account) NetworkChanged() { a.core.t.Helper(); a.core.must(nil, "maybe_network") }

// waitConnectivity waits until the core's connectivity is one that match says
// yes to: below 2000 it is not connected, from 4000 on all is well.
func (a *Account) waitConnectivity(match func(int) bool, timeout time.Duration) {
	a.core.t.Helper()
	for deadline := time.Now().Add(timeout); ; {
		var c int
		a.core.must(&c, "get_connectivity", a.ID)
		if match(c) {
			return
		}
		if _, err := a.waitEvent("ConnectivityChanged", nil, time.Until(deadline)); err != nil {
			a.core.t.Fatalf("%s: connectivity %d: %v", a.Name, c, err)
		}
	}
}

// Backup writes all of the account into a file, from which Restore makes a
// second device of it, and gives its path.
func (a *Account) Backup() string {
	a.core.t.Helper()
	dir := a.core.t.TempDir()
	a.StopIO()
	a.core.must(nil, "export_backup", a.ID, dir, nil)
	a.StartIO()
	files, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil || len(files) != 1 {
		a.core.t.Fatalf("%s: the backup is %q, %v", a.Name, files, err)
	}
	return files[0]
}

// Restore makes the account a second device of the one that wrote the backup,
// and waits until it is online.
func (a *Account) Restore(backup string) {
	a.core.t.Helper()
	a.core.must(nil, "import_backup", a.ID, backup, nil)
	a.StartIO()
	a.WaitEvent("ImapInboxIdle", nil, time.Minute)
}

// take keeps an event for WaitEvent. Log lines are in the log alone.
func (a *Account) take(e Event) {
	switch e.Kind {
	case "Info", "Warning", "Error":
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.events) >= maxEvents {
		a.events = a.events[1:]
	}
	a.taken++
	e.number = a.taken
	a.events = append(a.events, e)
	close(a.changed)
	a.changed = make(chan struct{})
}

// WaitEvent waits for an event of that kind to which match says yes (nil says
// yes to all), and takes it: no later WaitEvent sees it again. Events that
// came before the call count.
func (a *Account) WaitEvent(kind string, match func(Event) bool, timeout time.Duration) Event {
	a.core.t.Helper()
	e, err := a.waitEvent(kind, match, timeout)
	if err != nil {
		a.core.t.Fatalf("%s: %v", a.Name, err)
	}
	return e
}

func (a *Account) waitEvent(kind string, match func(Event) bool, timeout time.Duration) (Event, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var judged uint64
	for {
		a.mu.Lock()
		var news []Event
		for _, e := range a.events {
			if e.number > judged && e.Kind == kind {
				news = append(news, e)
			}
		}
		judged = a.taken
		changed := a.changed
		a.mu.Unlock()
		for _, e := range news { // without the lock: match may ask the core
			if (match == nil || match(e)) && a.remove(e) {
				return e, nil
			}
		}
		select {
		case <-changed:
		case <-a.core.dead:
			return Event{}, fmt.Errorf("wait for %s: %w", kind, a.core.end())
		case <-timer.C:
			return Event{}, fmt.Errorf("no %s within %v", kind, timeout)
		}
	}
}

// remove takes an event out, and tells whether it was still there.
func (a *Account) remove(e Event) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.events, func(have Event) bool { return have.number == e.number })
	if i < 0 {
		return false
	}
	a.events = slices.Delete(a.events, i, i+1)
	return true
}

// Forget drops the events of that kind that nobody took.
func (a *Account) Forget(kind string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = slices.DeleteFunc(a.events, func(e Event) bool { return e.Kind == kind })
}
