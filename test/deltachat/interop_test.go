package deltachat

import (
	"fmt"
	"testing"
	"time"

	"barid/internal/config"
	"barid/test/harness"
)

// lab is a domain whose certificate the core does not ask an authority about:
// its name begins with "_". The name in the certificate must be right.
const lab = "_cm.test"

// ordinaryPorts puts a relay where a client looks when it knows no more than
// the domain.
func ordinaryPorts(cfg *config.Config) {
	talkative(cfg)
	at := func(port int) []string { return []string{fmt.Sprintf("127.0.0.1:%d", port)} }
	cfg.Listen = config.Listen{
		IMAPS: at(993), IMAP: at(143), Submissions: at(465), Submission: at(587), HTTPS: at(443), HTTP: at(80),
	}
}

// The domain is all that a person needs to know: the core finds the relay,
// checks its certificate, makes accounts, and talks.
func TestInteropDomainIsEnough(t *testing.T) {
	harness.InNamespace(t, []string{lab, "turn." + lab}, func(t *testing.T, _ *harness.DNS) {
		r := harness.New(t, harness.Options{Domain: lab, SelfSigned: true, Change: ordinaryPorts})
		Exchange(t, under(t, r, "dcaccount:"+lab, "dcaccount:https://"+lab+"/new"))
	})
}

// Whoever scans the QR code of a relay gets an account, one after the other,
// and quickly.
func TestInteropAccountsInARow(t *testing.T) {
	harness.InNamespace(t, []string{lab, "turn." + lab}, func(t *testing.T, _ *harness.DNS) {
		harness.New(t, harness.Options{Domain: lab, SelfSigned: true, Change: ordinaryPorts})
		c := Start(t, Options{})
		seen := map[string]bool{}
		for i := range 3 {
			begin := time.Now()
			a := c.AddAccount(fmt.Sprintf("Person %d", i))
			a.Configure("DCACCOUNT:https://" + lab + "/new")
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("account %d took %v: the core looked elsewhere first", i, took)
			}
			if address := a.Address(); seen[address] || address == "" {
				t.Errorf("account %d has the address %q", i, address)
			} else {
				seen[address] = true
			}
		}
	})
}

// A certificate for another name is refused; that one name is right shows that
// nothing else was wrong.
func TestInteropWrongNameIsRefused(t *testing.T) {
	harness.InNamespace(t, []string{lab, "_other.test"}, func(t *testing.T, _ *harness.DNS) {
		harness.New(t, harness.Options{Domain: "_other.test", SelfSigned: true, Change: ordinaryPorts})
		c := Start(t, Options{})
		if err := c.AddAccount("Alice").TryConfigure("dcaccount:" + lab); err == nil {
			t.Fatal("the core took a certificate for another name")
		}
		if err := c.AddAccount("Bob").TryConfigure("dcaccount:_other.test"); err != nil {
			t.Fatal(err)
		}
	})
}
