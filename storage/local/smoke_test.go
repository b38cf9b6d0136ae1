package local

import (
	"context"
	"testing"

	"barid/smtp"
	"barid/storage"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Domain: "relay.test", Policy: Policy{UsernameMin: 3, UsernameMax: 9, PasswordMin: 9}}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	a, err := s.Login(ctx, smtp.Address{LocalPart: "alice", Domain: "relay.test"}, "secretsecret", storage.Origin{})
	if err != nil || !a.Born {
		t.Fatal(a, err)
	}
	d, _ := s.Draft(ctx, 0)
	d.Write([]byte("Subject: x\r\n\r\nbody\r\n"))
	res, err := s.Commit(ctx, storage.Batch{Ops: []storage.Op{storage.Deliver{To: a.Address, Content: d}}})
	d.Discard()
	if err != nil || res.Per[0].UID != 1 {
		t.Fatal(res, err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, err = Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Open(ctx, a, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.View(ctx)
		if err != nil || len(v.Messages) != 1 {
			t.Fatal(v, err)
		}
		m.Read(ctx, []storage.UID{1}, storage.Whole, func(u storage.UID, c storage.Content) error {
			b := make([]byte, c.Size())
			c.ReadAt(b, 0)
			t.Logf("%q", b)
			return nil
		})
		m.Close()
	}
	s.Close()
}
