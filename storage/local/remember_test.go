package local

import (
	"testing"

	"barid/smtp"
)

func TestASuccessorRemembersPasswords(t *testing.T) {
	old := newPasswordCache(100)
	address := smtp.Address{LocalPart: "somebody", Domain: "relay.test"}
	for range 80 { // so that some lie in the old half
		old.put(old.tag(address, "wrong one", "hash"))
		address.LocalPart += "x"
	}
	address.LocalPart = "somebody"
	old.put(old.tag(address, "secret", "hash"))
	next := newPasswordCache(100)
	next.take(old.export())
	if !next.has(next.tag(address, "secret", "hash")) {
		t.Error("the password is forgotten")
	}
	if next.has(next.tag(address, "secret", "another hash")) || next.has(next.tag(address, "guess", "hash")) {
		t.Error("it remembers what was not there")
	}
	for _, bad := range [][]byte{nil, {}, old.export()[:47], old.export()[:20]} {
		fresh := newPasswordCache(100)
		key := fresh.key
		if fresh.take(bad); fresh.key != key {
			t.Errorf("took %d octets", len(bad))
		}
	}
}
