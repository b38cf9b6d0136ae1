package main

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"barid/internal/app"
	"barid/smtp/queue"
	"barid/storage"
)

// A verb is about IDs, a destination, or everything that was asked for in so
// many words.
func TestWhichMessagesAVerbIsAbout(t *testing.T) {
	for _, c := range []struct {
		args []string
		all  bool
		want queue.Which
		ok   bool
	}{
		{[]string{"7", "12"}, false, queue.Which{IDs: []storage.QueueID{7, 12}}, true},
		{[]string{"Peer.Test"}, false, queue.Which{Dest: "peer.test"}, true},
		{[]string{"[192.0.2.7]"}, false, queue.Which{Dest: "[192.0.2.7]"}, true},
		{nil, true, queue.Which{All: true}, true},
		{nil, false, queue.Which{}, false},
		{[]string{"7"}, true, queue.Which{}, false},
		{[]string{"7", "peer.test"}, false, queue.Which{}, false},
		{[]string{"peer.test", "other.test"}, false, queue.Which{}, false},
	} {
		got, err := which(c.args, c.all)
		if (err == nil) != c.ok || c.ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q, all %v: %+v, %v", c.args, c.all, got, err)
		}
	}
}

func TestQueueAndPeersReadAsTables(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	list := app.QueueList{
		Summary: queue.Summary{Entries: 2, Most: 250000, Octets: 10000, InFlight: 1, Broken: 1},
		Rows: []queue.Row{
			{ID: 1, Dest: "peer.test", Size: 5000, Queued: now.Add(-time.Hour), Tries: 3, State: "breaker", Next: now.Add(90 * time.Second), Why: "421 4.4.1 no answer"},
			{ID: 2, Dest: "other.test", Size: 5000, Queued: now.Add(-time.Second), State: "sending"},
		},
	}
	if err := printQueue(&b, list, now); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	err := printPeers(&b, []queue.Peer{
		{Name: "other.test", InFlight: 1, Window: 2.5, Breaker: "closed", Channel: "https", Took: 0.0064, Sent: 40, Since: now.Add(-2 * time.Minute)},
		{Name: "peer.test", Waiting: 1, Window: 1, Breaker: "open", Refused: 3, Since: now.Add(-time.Hour), LastError: "no answer"},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	const want = `2 of 250000 entries, 10000 octets, 1 being sent, 0 held, destinations out of reach: 1
id  destination  octets  age     tries  state    next in  why
1   peer.test    5000    1h0m0s  3      breaker  1m30s    421 4.4.1 no answer
2   other.test   5000    1s      0      sending           

destination  waiting  sending  window  breaker  by     took  sent  refused  since   last error
other.test   0        1        2.5     closed   https  6ms   40    0        2m0s    
peer.test    1        0        1.0     open            0s    0     3        1h0m0s  no answer
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
