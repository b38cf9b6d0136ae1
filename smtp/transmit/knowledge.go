package transmit

import (
	"sync"
	"time"
)

const (
	// believed is how long it counts that a channel of a host works or fails.
	believed = 30 * time.Minute
	maxKnown = 10000 // hosts
)

// channelState is what is known of one channel of a host.
type channelState struct {
	tried time.Time
	works bool
	took  time.Duration // of a delivery, averaged
}

// knowledge remembers which channel of a host works, and how fast it is.
type knowledge struct {
	now func() time.Time

	mu    sync.Mutex // guards the fields below
	hosts map[string]*[2]channelState
}

// index of a channel.
func index(channel string) int {
	if channel == HTTPS {
		return 1
	}
	return 0
}

// best gives the channels of a host in the order in which to try them. Race
// is true when nobody knows which is better.
func (k *knowledge) best(host string) (order [2]string, race bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	both := k.hosts[host]
	if both == nil {
		return [2]string{HTTPS, SMTP}, true
	}
	smtp, https := k.judge(both[0]), k.judge(both[1])
	switch {
	case smtp == works && https == works:
		if both[0].took <= both[1].took {
			return [2]string{SMTP, HTTPS}, false
		}
		return [2]string{HTTPS, SMTP}, false
	case smtp == works:
		return [2]string{SMTP, HTTPS}, false
	case https == works:
		return [2]string{HTTPS, SMTP}, false
	case smtp == fails && https != fails:
		return [2]string{HTTPS, SMTP}, false
	case https == fails && smtp != fails:
		return [2]string{SMTP, HTTPS}, false
	}
	return [2]string{HTTPS, SMTP}, true
}

// opinion of a channel.
type opinion int

const (
	unknown opinion = iota
	works
	fails
)

func (k *knowledge) judge(c channelState) opinion {
	switch age := k.now().Sub(c.tried); {
	case c.tried.IsZero() || age > believed || age < 0:
		return unknown
	case c.works:
		return works
	}
	return fails
}

// note remembers how a channel did; took is zero when nothing was delivered.
func (k *knowledge) note(host, channel string, works bool, took time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hosts == nil {
		k.hosts = map[string]*[2]channelState{}
	}
	both := k.hosts[host]
	if both == nil {
		k.makeRoom()
		both = new([2]channelState)
		k.hosts[host] = both
	}
	c := &both[index(channel)]
	c.tried, c.works = k.now(), works
	if took > 0 {
		if c.took == 0 {
			c.took = took
		}
		c.took += (took - c.took) / 4
	}
}

// makeRoom forgets a host, the one tried longest ago of a few.
func (k *knowledge) makeRoom() {
	if len(k.hosts) < maxKnown {
		return
	}
	var oldest string
	var when time.Time
	seen := 0
	for name, both := range k.hosts {
		last := both[0].tried
		if both[1].tried.After(last) {
			last = both[1].tried
		}
		if oldest == "" || last.Before(when) {
			oldest, when = name, last
		}
		if seen++; seen == 8 {
			break
		}
	}
	delete(k.hosts, oldest)
}
