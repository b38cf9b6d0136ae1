package local

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"barid/storage"
)

func exampleEnvelopeFile() *envelopeFile {
	return &envelopeFile{id: 1 << 40, at: 1_790_000_000, env: exampleEnvelope(), size: 1 << 30, crc: 1 << 31}
}

func TestEnvelopesComeBackAsTheyWere(t *testing.T) {
	f := exampleEnvelopeFile()
	b := f.encode()
	got, err := decodeEnvelope(b)
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range b {
		torn := bytes.Clone(b)
		torn[i] ^= 0x40
		if _, err := decodeEnvelope(torn); !errors.Is(err, errEnvelope) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
		if _, err := decodeEnvelope(sealed(b[:i])); !errors.Is(err, errEnvelope) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

// exampleQueue has entries of all kinds, and one that an index has not.
func exampleQueue() *queue {
	q := newQueue(&Store{cfg: Config{QueueMax: 100}})
	for i := range storage.QueueID(5) {
		e := &queued{id: 3 + 1000*i, at: 1_790_000_000, size: 1 << 40, prefix: 7, to: 70, marks: storage.QueueMarks(i % 3)}
		if i == 2 {
			e.takeGone([]uint32{0, 63, 64, 69})
		}
		if i != 1 {
			e.set(queuedSettled)
		}
		q.insert(e, []string{"far.test", "[192.0.2.7]"}[i%2], at([]string{"alice", "bob", "carol"}[i%3]))
	}
	q.next = 1 << 50
	return q
}

func TestTheIndexOfTheQueueComesBackAsItWas(t *testing.T) {
	q := exampleQueue()
	b := q.encodeIndex(99)
	x, err := decodeIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	if x.applied != 99 || x.next != 1<<50 || len(x.rows) != 4 {
		t.Errorf("got %+v", x)
	}
	for _, r := range x.rows {
		want := q.find(r.e.id)
		got := queued{id: r.e.id, at: r.e.at, size: r.e.size, prefix: r.e.prefix, to: r.e.to, gone: r.e.gone, marks: r.e.marks, dest: want.dest, sender: want.sender}
		got.set(queuedSettled)
		if r.dest != want.dest.name || r.sender != want.sender.addr || !reflect.DeepEqual(&got, want) {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	for i := range b {
		torn := bytes.Clone(b)
		torn[i] ^= 0x40
		if _, err := decodeIndex(torn); !errors.Is(err, errIndex) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
		if i >= len(indexMagic) {
			if _, err := decodeIndex(sealed(b[:i:i])); !errors.Is(err, errIndex) && i < len(b)-4 {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
	}
	if _, err := decodeIndex(sealed([]byte("barid-queue 2\nfrom the future"))); err == nil || errors.Is(err, errIndex) {
		t.Errorf("an index of a later version: %v", err)
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	b := exampleEnvelopeFile().encode()
	f.Add(b[:len(b)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeEnvelope(sealed(b))
		if err != nil {
			if !errors.Is(err, errEnvelope) {
				t.Errorf("error %v", err)
			}
			return
		}
		if again, err := decodeEnvelope(x.encode()); err != nil || !reflect.DeepEqual(again, x) {
			t.Errorf("%+v becomes %+v, %v", x, again, err)
		}
	})
}

func FuzzDecodeIndex(f *testing.F) {
	b := exampleQueue().encodeIndex(99)
	f.Add(b[len(indexMagic) : len(b)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeIndex(sealed(append([]byte(indexMagic), b...)))
		if err != nil {
			if !errors.Is(err, errIndex) {
				t.Errorf("error %v", err)
			}
			return
		}
		q := newQueue(&Store{cfg: Config{QueueMax: 100}})
		q.next = x.next
		for _, r := range x.rows {
			q.insert(r.e, r.dest, r.sender)
		}
		again, err := decodeIndex(q.encodeIndex(x.applied))
		if err != nil || len(again.rows) != len(x.rows) || again.next != x.next {
			t.Fatalf("%+v becomes %+v, %v", x, again, err)
		}
		for i, r := range again.rows {
			if w := x.rows[i]; r.dest != w.dest || r.sender != w.sender || r.e.id != w.e.id || r.e.size != w.e.size || !reflect.DeepEqual(r.e.gone, w.e.gone) {
				t.Errorf("row %d: %+v becomes %+v", i, w, r)
			}
		}
	})
}
