package push

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"barid/smtp"
)

var errDown = errors.New("dial tcp 192.0.2.1:443: connect: no route for secret")

func always(status int, err error) func(int, string) (int, error) {
	return func(int, string) (int, error) { return status, err }
}

// Every token of the account is posted, once and in order; one that was
// taken leaves nothing behind, and stays where it is.
func TestEveryTokenIsPostedInOrder(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "openpgp:secret1", "fcm-secret2")
		r.mail("Alice+tag@relay.test")
		r.mail("nobody@relay.test")
		pass(time.Second)
		if got := r.gateway.tokens(); got != "openpgp:secret1 fcm-secret2" {
			t.Error(got)
		}
		if got := r.store.list("alice@relay.test"); got != "openpgp:secret1 fcm-secret2" {
			t.Error(got)
		}
		if r.value("push_sent") != 2 || r.value("push_queue_use") != 0 {
			t.Errorf("sent %d, waiting %d", r.value("push_sent"), r.value("push_queue_use"))
		}
		r.close()
		r.open()
		pass(6 * time.Hour)
		if n := len(r.gateway.requests()); n != 2 {
			t.Errorf("%d requests after a restart", n)
		}
	})
}

// Copies of one's own messages wake nobody, however the addresses are
// spelled.
func TestOwnCopiesWakeNobody(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "secret")
		r.Notify(address("Alice+x@relay.test"), address("aLICE@relay.test"))
		pass(time.Minute)
		if n := len(r.gateway.requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
		r.Notify(address("alice@relay.test"), address("alice@other.test"))
		r.Notify(address("alice@relay.test"), smtp.Address{}) // a notification of ours
		pass(time.Minute)
		if n := len(r.gateway.requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// 410 removes that token alone.
func TestAGoneTokenIsRemovedAlone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "one", "two")
		r.gateway.say(func(_ int, token string) (int, error) {
			if token == "one" {
				return http.StatusGone, nil
			}
			return http.StatusOK, nil
		})
		r.mail("alice@relay.test")
		pass(time.Minute)
		if got := r.gateway.tokens(); got != "one two" {
			t.Error(got)
		}
		if got := r.store.list("alice@relay.test"); got != "two" {
			t.Error(got)
		}
		if r.value("push_gone") != 1 || r.value("push_sent") != 1 {
			t.Error("not counted")
		}
	})
}

// A token that its device set again while its wake-up waited is not the one
// that is gone.
func TestARefreshedTokenStays(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "one")
		r.gateway.say(func(n int, _ string) (int, error) {
			if n == 1 {
				return http.StatusInternalServerError, nil
			}
			return http.StatusGone, nil
		})
		r.mail("alice@relay.test")
		pass(5 * time.Second)
		r.store.set("alice@relay.test", time.Now(), "one")
		pass(time.Minute)
		if got := r.store.list("alice@relay.test"); got != "one" || len(r.gateway.requests()) != 2 {
			t.Errorf("%q after %d requests", got, len(r.gateway.requests()))
		}
	})
}

// A token removed while its wake-up waited is not posted.
func TestARemovedTokenIsNotPosted(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "one")
		r.gateway.say(always(500, nil))
		r.mail("alice@relay.test")
		pass(time.Second)
		r.store.mu.Lock()
		delete(r.store.tokens, address("alice@relay.test"))
		r.store.mu.Unlock()
		pass(time.Hour)
		if n := len(r.gateway.requests()); n != 1 || r.value("push_queue_use") != 0 || r.value("push_forgotten") != 1 {
			t.Errorf("%d requests, %d wait", n, r.value("push_queue_use"))
		}
	})
}

// What the gateway refuses is tried five times at growing distances, each
// logged, and then given up. Nothing of it comes back with a restart.
func TestRefusedTriesFollowTheSchedule(t *testing.T) {
	for _, status := range []int{404, 500, 302, 204, 101} {
		bubble(t, nil, func(t *testing.T, r *rig) {
			r.store.set("alice@relay.test", time.Now(), "fcm-secret")
			r.gateway.say(always(status, nil))
			r.mail("alice@relay.test")
			pass(3 * time.Hour)
			all := r.gateway.requests()
			if len(all) != 5 {
				t.Fatalf("%d: %d requests", status, len(all))
			}
			for i, gap := range gaps(all) {
				want := []time.Duration{8 * time.Second, 64 * time.Second, 512 * time.Second, 4096 * time.Second}[i]
				if gap < want || gap > want+want/10+time.Millisecond {
					t.Errorf("%d: %v between try %d and the next", status, gap, i+1)
				}
			}
			if n := strings.Count(r.log.String(), "request failed"); n != 5 {
				t.Errorf("%d: failures logged %d times: %s", status, n, r.log)
			}
			if !strings.Contains(r.log.String(), "level=ERROR") || !strings.Contains(r.log.String(), "deadline") {
				t.Errorf("%d: the end is not logged: %s", status, r.log)
			}
			if r.value("push_failed") != 1 || r.value("push_queue_use") != 0 || r.value("push_requests_failed") != 5 {
				t.Error("not counted")
			}
			if got := r.store.list("alice@relay.test"); got != "fcm-secret" {
				t.Errorf("%d: tokens %q", status, got)
			}
			r.close()
			r.open()
			pass(6 * time.Hour)
			if n := len(r.gateway.requests()); n != 5 {
				t.Errorf("%d: %d requests after a restart", status, n)
			}
		})
	}
}

// While the gateway is down a wake-up keeps to its schedule, and waits until
// its deadline.
func TestADownGatewayIsWaitedForUntilTheDeadline(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "secret")
		r.gateway.say(always(0, errDown))
		began := time.Now()
		r.mail("alice@relay.test")
		pass(4*time.Hour + 50*time.Minute)
		if r.value("push_queue_use") != 1 {
			t.Fatal("given up too early")
		}
		pass(20 * time.Minute)
		all := r.gateway.requests()
		if r.value("push_queue_use") != 0 || r.value("push_failed") != 1 || !strings.Contains(r.log.String(), "deadline") {
			t.Errorf("not given up: %s", r.log)
		}
		if len(all) < 7 || len(all) > 9 || all[len(all)-1].at.Sub(began) > 5*time.Hour {
			t.Errorf("requests at distances %v", gaps(all))
		}
	})
}

// As soon as the gateway takes one, the others that it did not answer go too.
func TestAGatewayThatIsBackGetsAllAtOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "a")
		r.store.set("bob@relay.test", time.Now(), "b")
		r.gateway.say(always(0, errDown))
		r.mail("alice@relay.test")
		pass(20 * time.Minute) // its next try is an hour away
		before := len(r.gateway.requests())
		r.gateway.say(nil)
		r.mail("bob@relay.test")
		pass(time.Second)
		if all := r.gateway.requests(); len(all) != before+2 || r.value("push_queue_use") != 0 {
			t.Errorf("%d requests before, %d after", before, len(all))
		}
	})
}

// A gateway that is down is asked now and then, however much waits; when it is
// back, all that waits is sent, with ever more requests at a time.
func TestAHundredThousandDoNotHammer(t *testing.T) {
	const accounts, tokens = 5000, 20
	bubble(t, nil, func(t *testing.T, r *rig) {
		for i := range accounts {
			for n := range tokens {
				r.store.set(fmt.Sprintf("a%d@relay.test", i), time.Now(), fmt.Sprintf("%d-%d", i, n))
			}
		}
		r.gateway.say(always(0, errDown))
		for i := range accounts {
			r.mail(fmt.Sprintf("a%d@relay.test", i))
		}
		pass(2 * time.Minute)
		if r.value("push_queue_use") != accounts*tokens {
			t.Fatalf("%d wait", r.value("push_queue_use"))
		}
		list := r.Findings()
		if len(list) != 1 || list[0].ID != "push.backlog" || !strings.Contains(list[0].Text, "100000 wake-ups") {
			t.Errorf("findings %v", list)
		}
		if st := r.Status(); st.DownSince == nil || st.Waiting != accounts*tokens {
			t.Errorf("status %+v", st)
		}
		pass(time.Hour)
		asked := len(r.gateway.requests())
		if asked > 200 {
			t.Errorf("%d requests to a gateway that is down", asked)
		}
		r.gateway.mu.Lock()
		r.gateway.answer, r.gateway.took, r.gateway.most = nil, 20*time.Millisecond, 0
		r.gateway.mu.Unlock()
		pass(time.Minute) // until the next probe
		pass(time.Minute)
		sent := len(r.gateway.requests()) - asked
		if r.value("push_queue_use") != 0 || sent < accounts*tokens-200 || sent > accounts*tokens {
			t.Errorf("%d sent, %d wait", sent, r.value("push_queue_use"))
		}
		r.gateway.mu.Lock()
		defer r.gateway.mu.Unlock()
		if r.gateway.most != 64 {
			t.Errorf("%d at a time", r.gateway.most)
		}
		if len(r.Findings()) != 0 {
			t.Errorf("findings %v", r.Findings())
		}
	})
}

// Messages that come together wake a device once; the last of them is never
// without a wake-up that comes after it.
func TestATokenIsPostedOnceASecond(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.gateway.took = 300 * time.Millisecond
		r.store.set("alice@relay.test", time.Now(), "secret")
		r.store.set("second@relay.test", time.Now(), "secret") // the same device
		var last time.Time
		for i := range 25 {
			r.mail([]string{"alice@relay.test", "second@relay.test"}[i/24])
			last = time.Now()
			pass(100 * time.Millisecond)
		}
		pass(time.Minute)
		all := r.gateway.requests()
		if len(all) != 5 {
			t.Errorf("%d requests at distances %v", len(all), gaps(all))
		}
		for _, gap := range gaps(all) {
			if gap < time.Second {
				t.Errorf("two within %v", gap)
			}
		}
		if end := all[len(all)-1].at; end.Before(last) || end.Sub(last) > 2*time.Second {
			t.Errorf("the last message came %v before the last wake-up", end.Sub(last))
		}
	})
}

// A new message starts a wake-up anew that waits long.
func TestANewMessageIsANewFirstTry(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "secret")
		r.gateway.say(always(500, nil))
		r.mail("alice@relay.test")
		pass(12 * time.Minute) // four tries, the next in an hour
		r.gateway.say(nil)
		r.mail("alice@relay.test")
		pass(time.Second)
		if n := len(r.gateway.requests()); n != 5 || r.value("push_sent") != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// Nobody waits for push: neither a store that hangs nor a gateway that does.
func TestADeliveryNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.store.hold = make(chan struct{})
		r.store.set("alice@relay.test", time.Now(), "secret")
		began := time.Now()
		for i := range 3 * maxArrivals {
			r.mail(fmt.Sprintf("a%d@relay.test", i))
		}
		r.mail("alice@relay.test")
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
		if n := r.value("push_discarded"); n < maxArrivals {
			t.Errorf("%d discarded, so memory is not bounded", n)
		}
		close(r.store.hold)
		r.gateway.took = 30 * time.Second
		synctest.Wait()
		r.mail("alice@relay.test")
		pass(time.Minute)
		if n := len(r.gateway.requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
		r.close()
	})
}

// A gateway that hangs is left after a minute, and is not asked by more than
// may ask.
func TestASlowGatewayIsLeftAfterAMinute(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.gateway.took = time.Hour
		for i := range 200 {
			name := fmt.Sprintf("a%d@relay.test", i)
			r.store.set(name, time.Now(), name)
			r.mail(name)
		}
		pass(2 * time.Minute) // it may be for the sake of each token
		first := len(r.gateway.requests())
		if first > 70 || r.gateway.most > 64 {
			t.Errorf("%d requests, %d at a time", first, r.gateway.most)
		}
		r.gateway.mu.Lock()
		r.gateway.most = 0
		r.gateway.mu.Unlock()
		pass(10 * time.Minute)
		if n := len(r.gateway.requests()) - first; n > 12 || r.gateway.most > 1 || r.value("push_queue_use") != 200 {
			t.Errorf("%d more requests, %d at a time; %d wait", n, r.gateway.most, r.value("push_queue_use"))
		}
		if !strings.Contains(r.log.String(), "does not answer in time") {
			t.Error(r.log)
		}
	})
}

// Tokens that are refused again and again keep no other from being posted.
func TestBadTokensDoNotHoldUpGoodOnes(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.gateway.say(func(_ int, token string) (int, error) {
			if strings.HasPrefix(token, "bad") {
				return 500, nil
			}
			return 200, nil
		})
		for i := range 40 {
			name := fmt.Sprintf("bad%d@relay.test", i)
			r.store.set(name, time.Now(), name)
			r.mail(name)
		}
		pass(100 * time.Second)
		r.store.set("alice@relay.test", time.Now(), "good")
		before := time.Now()
		r.mail("alice@relay.test")
		pass(time.Second)
		for _, q := range r.gateway.requests() {
			if q.token == "good" && q.at.Sub(before) < time.Second {
				return
			}
		}
		t.Error("the good one waits")
	})
}

// An operator reads what became of tokens, and no token.
func TestStatusTellsOfTokensWithoutShowingOne(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		now := time.Now()
		r.store.set("alice@relay.test", now.Add(-time.Hour), "openpgp:secret1")
		r.store.set("alice@relay.test", now.Add(-50*time.Hour), "openpgp:secret2", "fcm-secret", "0123secret")
		r.gateway.say(func(_ int, token string) (int, error) {
			switch {
			case strings.HasPrefix(token, "fcm-"):
				return 410, nil
			case strings.HasPrefix(token, "0"):
				return 500, nil
			}
			return 200, nil
		})
		r.mail("alice@relay.test")
		pass(time.Second)
		st := r.Status()
		text := fmt.Sprintf("%+v", st)
		if strings.Contains(text, "secret") || strings.Contains(text, "alice") {
			t.Error(text)
		}
		if st.Waiting != 1 || st.Gateway != "gateway.test" || len(st.Platforms) != 3 {
			t.Fatal(text)
		}
		pgp, fcm, other := st.Platforms[0], st.Platforms[1], st.Platforms[2]
		if pgp.Platform != "openpgp:" || pgp.Tokens != 2 || pgp.Sent != 2 || pgp.Last != "sent" || pgp.Newest != 3601 || pgp.Oldest != 50*3600+1 {
			t.Errorf("%+v", pgp)
		}
		if fcm.Platform != "fcm-" || fcm.Tokens != 0 || fcm.Gone != 1 || !strings.HasPrefix(fcm.Last, "gone") {
			t.Errorf("%+v", fcm)
		}
		if other.Platform != Other || other.Tokens != 1 || other.Last != "the gateway answers 500" || other.LastAt == nil {
			t.Errorf("%+v", other)
		}
	})
}

// A test posts all tokens of an account now, and tells of each.
func TestATestTellsOfEachToken(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.set("alice@relay.test", time.Now(), "openpgp:secret", "webpush:secret", "sandbox:secret")
		r.gateway.say(func(n int, _ string) (int, error) {
			return []int{200, 410, 0, 200}[n-1], []error{nil, nil, errDown, nil}[n-1]
		})
		var got []string
		err := r.Test(t.Context(), address("alice@relay.test"), func(x TestResult) error {
			got = append(got, fmt.Sprint(x.Platform, x.OK, x.Status, " ", x.Result))
			return nil
		})
		want := "[openpgp:true 200 sent webpush:false 410 gone: the gateway knows the device no more " +
			"sandbox:false 0 the connection to the gateway broke, or what came was no HTTP]"
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%v %v", got, err)
		}
		if got := r.store.list("alice@relay.test"); got != "openpgp:secret sandbox:secret" {
			t.Error(got)
		}
		stop := errors.New("enough")
		if err := r.Test(t.Context(), address("alice@relay.test"), func(TestResult) error { return stop }); err != stop {
			t.Error(err)
		}
	})
}

// The known beginnings.
func TestPlatformsByTheirVisibleBeginning(t *testing.T) {
	for token, want := range map[string]string{
		"openpgp:x": "openpgp:", "fcm-chat.delta:x": "fcm-", "ubports-x": "ubports-", "webpush:https://x|y|z": "webpush:", "sandbox:00": "sandbox:",
		"00ff": Other, "": Other, "OPENPGP:x": Other,
	} {
		if got := Platform(token); got != want {
			t.Errorf("%q: %s", token, got)
		}
	}
}
