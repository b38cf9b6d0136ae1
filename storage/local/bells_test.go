package local

import (
	"slices"
	"testing"

	"barid/storage"
)

// told notes who was rung.
type told struct {
	name string
	list *[]string
}

func (b told) Ring() { *b.list = append(*b.list, b.name) }

// A subscription ends with its cancel or with its mailbox, whichever comes
// first and in whatever place of the list, and no other one with it.
func TestSubscriptionsEndOneByOne(t *testing.T) {
	s := &Store{cfg: Config{}.withDefaults()}
	id, a := &box{}, &account{refs: 2}
	a.now.Store(&accountState{alive: true})
	first, second := &mailbox{s: s, a: a, id: id}, &mailbox{s: s, a: a, id: id}
	var rung []string
	ring := func(want ...string) {
		t.Helper()
		rung = nil
		id.ring()
		if slices.Sort(rung); !slices.Equal(rung, want) {
			t.Fatalf("%q rang, want %q", rung, want)
		}
	}
	cancels := map[string]func(){}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		m := first
		if name == "b" || name == "d" {
			m = second
		}
		cancels[name] = m.Subscribe(storage.Bell(told{name, &rung}))
	}
	ring("a", "b", "c", "d", "e")
	cancels["c"]() // in the middle
	cancels["c"]()
	ring("a", "b", "d", "e")
	cancels["e"]() // in front
	ring("a", "b", "d")
	second.Close()
	second.Close()
	cancels["d"]()
	ring("a")
	second.Subscribe(told{"f", &rung})()
	cancels["a"]() // the last one
	ring()
	if a.refs != 1 {
		t.Fatalf("%d references", a.refs)
	}
}
