package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"barid/smtp"
	"barid/storage"
)

// env is a store under test with short words for what the tests do all the
// time.
type env struct {
	t *testing.T
	Engine
}

var ctx = context.Background()

const password = storage.Password("a long password")

func address(local string) smtp.Address { return smtp.Address{LocalPart: local, Domain: Domain} }

func (e *env) login(local string) storage.Account {
	e.t.Helper()
	a, err := e.Login(ctx, address(local), password, storage.Origin{})
	if err != nil {
		e.t.Fatalf("login %q: %v", local, err)
	}
	return a
}

// text is content in memory.
type text struct{ *strings.Reader }

func content(s string) storage.Content { return &text{strings.NewReader(s)} }

func (c *text) Size() int64 { return c.Reader.Size() }

func (e *env) commit(ops ...storage.Op) []storage.Outcome {
	e.t.Helper()
	r, err := e.Commit(ctx, storage.Batch{Ops: ops})
	if err != nil {
		e.t.Fatalf("commit: %v", err)
	}
	if len(r.Per) != len(ops) {
		e.t.Fatalf("%d outcomes of %d operations", len(r.Per), len(ops))
	}
	return r.Per
}

// must commits one operation that must succeed.
func (e *env) must(op storage.Op) storage.Outcome {
	e.t.Helper()
	o := e.commit(op)[0]
	if o.Err != nil {
		e.t.Fatalf("%T: %v", op, o.Err)
	}
	return o
}

// fails commits one operation that must fail with want.
func (e *env) fails(op storage.Op, want error) {
	e.t.Helper()
	if o := e.commit(op)[0]; !errors.Is(o.Err, want) {
		e.t.Errorf("%T: %v, want %v", op, o.Err, want)
	}
}

func (e *env) deliver(a storage.Account, s string) storage.UID {
	e.t.Helper()
	return e.must(storage.Deliver{To: a.Address, Content: content(s)}).UID
}

func (e *env) open(a storage.Account, name string) storage.Mailbox {
	e.t.Helper()
	m, err := e.Open(ctx, a, name)
	if err != nil {
		e.t.Fatalf("open %q: %v", name, err)
	}
	e.t.Cleanup(m.Close)
	return m
}

func (e *env) view(a storage.Account, name string) *storage.View {
	e.t.Helper()
	m, err := e.Open(ctx, a, name)
	if err != nil {
		e.t.Fatalf("open %q: %v", name, err)
	}
	defer m.Close()
	return e.see(m)
}

func (e *env) see(m storage.Mailbox) *storage.View {
	e.t.Helper()
	v, err := m.View(ctx)
	if err != nil {
		e.t.Fatalf("view: %v", err)
	}
	return v
}

func uids(v *storage.View) []storage.UID {
	var list []storage.UID
	for _, m := range v.Messages {
		list = append(list, m.UID)
	}
	return list
}

// read gives the content of messages, in the order they came.
func (e *env) read(a storage.Account, name string, part storage.Part, uids ...storage.UID) []string {
	e.t.Helper()
	m, err := e.Open(ctx, a, name)
	if err != nil {
		e.t.Fatalf("open %q: %v", name, err)
	}
	defer m.Close()
	var list []string
	err = m.Read(ctx, uids, part, func(_ storage.UID, c storage.Content) error {
		var b bytes.Buffer
		n, err := io.Copy(&b, io.NewSectionReader(c, 0, c.Size()))
		if err == nil && n != c.Size() {
			err = io.ErrUnexpectedEOF
		}
		list = append(list, b.String())
		return err
	})
	if err != nil {
		e.t.Fatalf("read: %v", err)
	}
	return list
}

func (e *env) names(a storage.Account) []string {
	e.t.Helper()
	list, err := e.Mailboxes(ctx, a)
	if err != nil {
		e.t.Fatalf("mailboxes: %v", err)
	}
	var names []string
	for _, m := range list {
		names = append(names, m.Name)
	}
	return names
}

func (e *env) reopen() {
	e.t.Helper()
	e.Engine = e.Reopen(e.t)
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func same[T comparable](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = got[i] == want[i]
	}
	if !ok {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// bell counts its rings, and calls then.
type bell struct{ ring func() }

func (b bell) Ring() { b.ring() }
