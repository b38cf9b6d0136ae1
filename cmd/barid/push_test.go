package main

import (
	"strings"
	"testing"
	"time"

	"barid/imap/push"
)

// The text for people has what the JSON has.
func TestPushStatusReadsWell(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	since, at := now.Add(-time.Hour), now.Add(-3*time.Minute)
	s := push.Status{
		Enabled: true, Gateway: "gateway.test", DownSince: &since, Waiting: 7, MaxWaiting: 150_000, Oldest: 3700, Discarded: 3,
		Platforms: []push.PlatformStatus{
			{Platform: "openpgp:", Tokens: 12, Newest: 30, Oldest: 80 * 86400, Sent: 100, Gone: 2, Failed: 1, Last: "sent", LastAt: &at},
			{Platform: push.Other, Gone: 1},
		},
	}
	const want = `gateway: gateway.test, does not answer since 2026-11-25 11:00:00 UTC
waiting: 7 of at most 150000, the oldest for 61m
discarded since the start, as too many waited: 3

tokens     number  set              sent   gone  failed  last result
openpgp:       12  30s-80d           100      2       1  sent, 3m ago
other           0  -                   0      1       0  
`
	for _, c := range []struct {
		s    push.Status
		want string
	}{
		{s, want},
		{push.Status{}, "push is off (push.enabled)\n"},
		{push.Status{Enabled: true, Gateway: "g.test", MaxWaiting: 5}, "gateway: g.test\nwaiting: 0 of at most 5\nno device token was seen since the start\n"},
	} {
		var b strings.Builder
		if err := printPushStatus(&b, c.s, now); err != nil || b.String() != c.want {
			t.Errorf("%v\n%s\nwant\n%s", err, b.String(), c.want)
		}
	}
}
