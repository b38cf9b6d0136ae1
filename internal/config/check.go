package config

import (
	"fmt"
	"time"
)

// fault is a value that is wrong. The keys are those it depends on, the one to
// blame first; it is shown at the first that stands in the file.
type fault struct {
	keys    []string
	element int // of a list, -1 for the value as a whole
	text    string
}

// checker collects faults.
type checker struct{ faults []fault }

func (c *checker) bad(key, format string, args ...any) {
	c.faults = append(c.faults, fault{[]string{key}, -1, fmt.Sprintf(format, args...)})
}

func (c *checker) badElement(key string, element int, format string, args ...any) {
	c.faults = append(c.faults, fault{[]string{key}, element, fmt.Sprintf(format, args...)})
}

// badPair tells that two keys do not go together.
func (c *checker) badPair(key, other, format string, args ...any) {
	c.faults = append(c.faults, fault{[]string{key, other}, -1, fmt.Sprintf(format, args...)})
}

// Check judges the values of a Config that was not parsed. The error is
// *Errors, whose problems have no place.
func (c *Config) Check() error {
	e := &Errors{Name: "configuration"}
	for _, f := range c.faults() {
		e.Problems = append(e.Problems, Problem{Key: f.keys[0], Text: f.text})
	}
	return e.orNil()
}

// judge checks the values and gives each fault its place. A key whose value
// could not be read still has its default and is not judged.
func (r *reader) judge() {
	for _, f := range r.config.faults() {
		r.blame(f)
	}
}

func (r *reader) blame(f fault) {
	for _, key := range f.keys {
		if at := r.at[key]; at != nil && at.bad {
			return
		}
	}
	for _, key := range f.keys {
		at := r.at[key]
		if at == nil {
			continue
		}
		offset := at.value
		if f.element >= 0 && f.element < len(at.elements) {
			offset = at.elements[f.element]
		}
		r.problem(offset, key, "%s", f.text)
		return
	}
	// Only a missing domain comes here; all else has a default. Where it is
	// missing for a cause that was told, nothing more is said.
	key := f.keys[0]
	if _, isTable := r.tables[key]; !isTable && !r.broken && !r.guessed[key] {
		r.problem(0, key, "%s", f.text)
	}
}

// faults finds everything that is wrong with the values.
func (c *Config) faults() []fault {
	k := &checker{}
	if why := checkDomain(c.Domain); why != "" {
		k.bad("domain", "%s", why)
	}
	if c.DataDir == "" {
		k.bad("data_dir", "must not be empty")
	}
	k.listen(&c.Listen)
	k.proxies(c.Listen.Proxies)
	k.tls(&c.TLS)
	k.acme(c)
	k.accounts(&c.Accounts)
	k.expiry(&c.Expiry)
	k.limits(&c.Limits)
	k.storage(&c.Storage)
	k.imap(&c.IMAP)
	k.push(&c.Push)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, LogText, LogJSON)
	k.iroh(&c.Iroh)
	k.derp(&c.DERP)
	k.turn(&c.TURN)
	k.mailAddress("contact.admin", c.Contact.Admin)
	k.dns(&c.DNS)
	k.dkim(&c.DKIM)
	k.federation(&c.Federation)
	return k.faults
}

func (k *checker) tls(t *TLS) {
	k.oneOf("tls.mode", t.Mode, TLSACME, TLSFiles, TLSSelfSigned)
	for _, f := range []struct{ key, value string }{{"tls.cert", t.Cert}, {"tls.key", t.Key}} {
		switch {
		case t.Mode == TLSFiles && f.value == "":
			k.badPair(f.key, "tls.mode", `mode "files" wants %s`, f.key)
		case t.Mode != TLSFiles && f.value != "":
			k.bad(f.key, `is for tls.mode = "files" only`)
		}
	}
	if len(t.Names) > 16 {
		k.bad("tls.names", "has more than 16 elements")
	}
	for i, name := range t.Names {
		if why := checkDomain(name); why != "" {
			k.badElement("tls.names", i, "%s", why)
		}
	}
}

func (k *checker) acme(c *Config) {
	a := &c.ACME
	if a.Directory == "" {
		k.bad("acme.directory", "must not be empty")
	}
	k.url("acme.directory", a.Directory)
	k.url("acme.second_directory", a.SecondDirectory)
	k.mailAddress("acme.email", a.Email)
	k.together("acme.eab_key_id", a.EABKeyID, "acme.eab_key_file", a.EABKeyFile)
	k.together("acme.second_eab_key_id", a.SecondEABKeyID, "acme.second_eab_key_file", a.SecondEABKeyFile)
	k.together("acme.dns_key_name", a.DNSKeyName, "acme.dns_key_file", a.DNSKeyFile)
	if a.SecondDirectory == "" && a.SecondEABKeyID != "" {
		k.badPair("acme.second_directory", "acme.second_eab_key_id", "second_eab_key_id wants acme.second_directory")
	}
	if a.DNSServer == "" && a.DNSKeyName != "" {
		k.badPair("acme.dns_server", "acme.dns_key_name", "dns_key_name wants acme.dns_server")
	}
	if a.DNSServer != "" {
		k.addressPort("acme.dns_server", a.DNSServer)
	}
	k.oneOf("acme.dns_key_algorithm", a.DNSKeyAlgorithm, "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
	if c.TLS.Mode == TLSACME && len(c.Listen.HTTPS) == 0 && len(c.Listen.HTTP) == 0 && a.DNSServer == "" {
		k.badPair("tls.mode", "listen.https", `"acme" wants listen.https, listen.http or acme.dns_server`)
	}
}

// together wants both values or none.
func (k *checker) together(key, value, other, otherValue string) {
	if (value == "") != (otherValue == "") {
		k.badPair(key, other, "%s and %s go together", key, other)
	}
}

func (k *checker) accounts(a *Accounts) {
	k.between("accounts.username_min_length", a.UsernameMinLength, 1, 64)
	k.between("accounts.username_max_length", a.UsernameMaxLength, 1, 64)
	k.between("accounts.password_min_length", a.PasswordMinLength, 1, 128)
	if a.UsernameMinLength > a.UsernameMaxLength {
		k.badPair("accounts.username_min_length", "accounts.username_max_length",
			"username_min_length (%d) is above username_max_length (%d)", a.UsernameMinLength, a.UsernameMaxLength)
	}
	k.oneOf("accounts.registration", a.Registration, RegistrationOpen, RegistrationInvites, RegistrationClosed)
	k.age("accounts.name_reuse_after", a.NameReuseAfter, time.Hour)
}

func (k *checker) expiry(e *Expiry) {
	k.age("expiry.delete_mails_after", e.DeleteMailsAfter, time.Hour)
	k.age("expiry.delete_large_after", e.DeleteLargeAfter, time.Hour)
	k.age("expiry.delete_inactive_users_after", e.DeleteInactiveUsersAfter, 24*time.Hour)
}

// age checks a time in days, or none.
func (k *checker) age(key string, v Duration, low time.Duration) {
	if v != 0 {
		k.durationBetween(key, v, low, 36500*time.Duration(day))
	}
}

// unbounded is the largest number that a count may have, in places where only
// sense bounds it.
const unbounded = 1_000_000_000

func (k *checker) limits(l *Limits) {
	message := k.sizeBetween("limits.max_message_size", l.MaxMessageSize, Kibi, Gibi)
	mailbox := k.sizeBetween("limits.max_mailbox_size", l.MaxMailboxSize, Kibi, 16*Tebi)
	if message && mailbox && l.MaxMessageSize > l.MaxMailboxSize {
		k.badPair("limits.max_mailbox_size", "limits.max_message_size",
			"max_mailbox_size (%s) is below max_message_size (%s)", l.MaxMailboxSize, l.MaxMessageSize)
	}
	k.between("limits.max_user_send_per_minute", l.MaxUserSendPerMinute, 1, unbounded)
	k.between("limits.max_user_send_burst_size", l.MaxUserSendBurstSize, 1, unbounded)
	k.between("limits.max_smtp_recipients", l.MaxSMTPRecipients, 1, 10_000)
	k.between("limits.max_connections", l.MaxConnections, 0, unbounded)
	k.between("limits.max_imap_connections", l.MaxIMAPConnections, 0, unbounded)
	k.between("limits.max_smtp_connections", l.MaxSMTPConnections, 0, unbounded)
	k.between("limits.imap_per_client", l.IMAPPerClient, 0, unbounded)
	k.between("limits.submission_per_client", l.SubmissionPerClient, 0, unbounded)
	k.between("limits.max_receive_connections", l.MaxReceiveConnections, 0, unbounded)
	k.between("limits.receive_per_client", l.ReceivePerClient, 0, unbounded)
	k.between("limits.receive_per_minute", l.ReceivePerMinute, 1, unbounded)
	k.between("limits.receive_burst", l.ReceiveBurst, 1, unbounded)
	k.between("limits.https_per_client", l.HTTPSPerClient, 0, unbounded)
	k.between("limits.turn_per_client", l.TURNPerClient, 0, unbounded)
	k.between("limits.imap_sessions_per_account", l.IMAPSessionsPerAccount, 0, 10_000)
	k.between("limits.new_burst", l.NewBurst, 1, unbounded)
	k.between("limits.new_per_second", l.NewPerSecond, 1, unbounded)
	k.between("limits.signup_burst", l.SignupBurst, 0, unbounded)
	k.between("limits.signup_per_second", l.SignupPerSecond, 1, unbounded)
	if v := l.MaxLoad1m; !(v >= 0 && v <= 1_000_000) {
		k.bad("limits.max_load_1m", "must be from 0 to 1000000, not %v", v)
	}
	k.sizeBetween("limits.min_available_memory", l.MinAvailableMemory, 0, 1024*Tebi)
	k.sizeBetween("limits.min_free_disk_space", l.MinFreeDiskSpace, 0, 1024*Tebi)
	k.between("limits.min_free_inodes", l.MinFreeInodes, 0, unbounded)
}

func (k *checker) iroh(i *Iroh) {
	k.url("iroh.url", i.URL)
	k.between("iroh.max_clients", i.MaxClients, 0, unbounded)
	k.between("iroh.per_client", i.PerClient, 0, unbounded)
	if i.BytesPerSecond != 0 {
		k.sizeBetween("iroh.bytes_per_second", i.BytesPerSecond, 64*Kibi, 16*Gibi)
	}
	k.sizeBetween("iroh.burst", i.Burst, 64*Kibi, 16*Gibi)
	k.sizeBetween("iroh.memory", i.Memory, Mebi, 16*Gibi)
}

func (k *checker) derp(d *DERP) {
	k.url("derp.verify_url", d.VerifyURL)
	k.between("derp.max_clients", d.MaxClients, 0, unbounded)
	if d.Enabled && d.VerifyURL == "" {
		k.badPair("derp.verify_url", "derp.enabled", "derp.enabled wants derp.verify_url, or the relay would be open to the world")
	}
}

func (k *checker) push(p *Push) {
	k.url("push.url", p.URL)
	if p.Enabled && p.URL == "" {
		k.badPair("push.url", "push.enabled", "must not be empty while push.enabled is true")
	}
}

func (k *checker) storage(s *Storage) {
	k.oneOf("storage.sync", s.Sync, SyncAlways, SyncNever)
	k.sizeBetween("storage.fresh_memory", s.FreshMemory, Mebi, 16*Gibi)
	k.durationBetween("storage.settle_after", s.SettleAfter, time.Second, 10*time.Minute)
}
