package app

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"barid/internal/config"
	"barid/storage/cmdeploy"
)

// ImportSetting is what became of one key of chatmail.ini.
type ImportSetting struct {
	Key   string   `json:"key"`
	Value string   `json:"value"`
	Line  int      `json:"line"`
	Ours  []string `json:"ours,omitempty"` // the keys that it set; none: it has no effect here
	Note  string   `json:"note,omitempty"`
}

// setting says what a key of the reference is here.
type setting struct {
	ours  []string
	apply func(c *config.Config, value string) error // nil: no effect
	note  string
}

// theirs are the keys that the reference knows, or knew.
func theirs() map[string]setting {
	none := func(note string) setting { return setting{note: note} }
	m := map[string]setting{
		"mail_domain": {[]string{"domain"}, func(*config.Config, string) error { return nil }, ""},

		"max_user_send_per_minute": number("limits.max_user_send_per_minute", func(c *config.Config) *int { return &c.Limits.MaxUserSendPerMinute }),
		"max_user_send_burst_size": number("limits.max_user_send_burst_size", func(c *config.Config) *int { return &c.Limits.MaxUserSendBurstSize }),
		"username_min_length":      number("accounts.username_min_length", func(c *config.Config) *int { return &c.Accounts.UsernameMinLength }),
		"username_max_length":      number("accounts.username_max_length", func(c *config.Config) *int { return &c.Accounts.UsernameMaxLength }),
		"password_min_length":      number("accounts.password_min_length", func(c *config.Config) *int { return &c.Accounts.PasswordMinLength }),

		"max_mailbox_size":     megabytes("limits.max_mailbox_size", func(c *config.Config) *config.Size { return &c.Limits.MaxMailboxSize }),
		"min_available_memory": megabytes("limits.min_available_memory", func(c *config.Config) *config.Size { return &c.Limits.MinAvailableMemory }),
		"min_free_disk_space":  megabytes("limits.min_free_disk_space", func(c *config.Config) *config.Size { return &c.Limits.MinFreeDiskSpace }),
		"max_message_size": {[]string{"limits.max_message_size"}, func(c *config.Config, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			c.Limits.MaxMessageSize = config.Size(n)
			return err
		}, ""},

		"delete_mails_after":          days("expiry.delete_mails_after", func(c *config.Config) *config.Duration { return &c.Expiry.DeleteMailsAfter }),
		"delete_large_after":          days("expiry.delete_large_after", func(c *config.Config) *config.Duration { return &c.Expiry.DeleteLargeAfter }),
		"delete_inactive_users_after": days("expiry.delete_inactive_users_after", func(c *config.Config) *config.Duration { return &c.Expiry.DeleteInactiveUsersAfter }),

		"max_load_1m": {[]string{"limits.max_load_1m"}, func(c *config.Config, v string) (err error) {
			c.Limits.MaxLoad1m, err = strconv.ParseFloat(v, 64)
			return err
		}, ""},
		"max_imap_connections": {[]string{"limits.max_imap_connections", "limits.max_connections"}, func(c *config.Config, v string) (err error) {
			c.Limits.MaxIMAPConnections, err = strconv.Atoi(v)
			c.Limits.MaxConnections = max(c.Limits.MaxConnections, 2*c.Limits.MaxIMAPConnections)
			return err
		}, "counts idle sessions too, which the reference's processes did not"},
		"max_smtp_connections": {[]string{"limits.max_smtp_connections", "limits.submission_per_client"}, func(c *config.Config, v string) (err error) {
			c.Limits.MaxSMTPConnections, err = strconv.Atoi(v)
			c.Limits.SubmissionPerClient = c.Limits.MaxSMTPConnections / 5
			return err
		}, ""},

		"tls_external_cert_and_key": {[]string{"tls.mode", "tls.cert", "tls.key"}, externalTLS, ""},
		"acme_email":                {[]string{"acme.email"}, func(c *config.Config, v string) error { c.ACME.Email = v; return nil }, ""},
		"disable_ipv6":              {[]string{"listen"}, onlyIPv4, "mail still leaves by IPv6 where this machine has it"},
		"imap_compress": {[]string{"imap.compress", "imap.login_capabilities"}, func(c *config.Config, v string) error {
			if c.IMAP.Compress = cmdeploy.Bool(v); c.IMAP.Compress {
				c.IMAP.LoginCapabilities = append(slices.Clone(c.IMAP.LoginCapabilities), "COMPRESS=DEFLATE")
			}
			return nil
		}, ""},
		"iroh_relay": {[]string{"iroh.enabled", "iroh.url"}, func(c *config.Config, v string) error {
			c.Iroh.Enabled, c.Iroh.URL = false, v
			return nil
		}, ""},
		"mtail_address": {[]string{"listen.metrics"}, func(c *config.Config, v string) error {
			c.Listen.Metrics = []string{net.JoinHostPort(v, "3903")}
			return nil
		}, "the counters keep their names; the IMAP statistics of port 3904 are among them under others"},
		"privacy_mail": {[]string{"contact.admin"}, func(c *config.Config, v string) error { c.Contact.Admin = v; return nil }, ""},
		"www_folder":   {[]string{"web.dir"}, func(*config.Config, string) error { return nil }, "see below, where it was found"},

		"mailboxes_dir": {[]string{"data_dir"}, func(*config.Config, string) error { return nil }, "mail lies in data_dir/mail/DOMAIN"},
		"passdb_path":   none("read by this import, and never again"),

		"imap_rawlog":      none("no dialogue is ever written to disk"),
		"turn_socket_path": none("TURN is part of this program"),
		"filtermail_host":  none("the filter is part of this program"),
		"postfix_host":     none("there is no Postfix any more"),
	}
	for _, key := range []string{"privacy_postal", "privacy_pdo", "privacy_supervisor"} {
		m[key] = none("the page about privacy is this program's; put a privacy.html of your own into web.dir")
	}
	for _, key := range []string{
		"filtermail_smtp_port", "filtermail_smtp_port_incoming", "filtermail_http_port_incoming", "filtermail_http_port", "filtermail_lmtp_port_transport",
		"postfix_reinject_port", "postfix_reinject_port_incoming",
	} {
		m[key] = none("the parts of this program talk over no ports")
	}
	for _, key := range []string{"passthrough_senders", "passthrough_recipients"} {
		m[key] = none("mail in the clear passes for nobody, as in the reference since 1.11")
	}
	m["mail_server_comment"] = none("removed from the reference, too")
	return m
}

func number(ours string, field func(*config.Config) *int) setting {
	return setting{[]string{ours}, func(c *config.Config, v string) (err error) {
		*field(c), err = strconv.Atoi(v)
		return err
	}, ""}
}

func megabytes(ours string, field func(*config.Config) *config.Size) setting {
	return setting{[]string{ours}, func(c *config.Config, v string) error {
		n, err := cmdeploy.Megabytes(v)
		*field(c) = config.Size(n)
		return err
	}, ""}
}

func days(ours string, field func(*config.Config) *config.Duration) setting {
	return setting{[]string{ours}, func(c *config.Config, v string) (err error) {
		*field(c), err = config.ParseDuration(v + "d")
		return err
	}, ""}
}

func externalTLS(c *config.Config, v string) error {
	if v == "" {
		return nil
	}
	paths := strings.Fields(v)
	if len(paths) != 2 {
		return errors.New("must have two space-separated paths: CERT_PATH KEY_PATH")
	}
	c.TLS.Mode, c.TLS.Cert, c.TLS.Key = config.TLSFiles, paths[0], paths[1]
	return nil
}

func onlyIPv4(c *config.Config, v string) error {
	if !cmdeploy.Bool(v) {
		return nil
	}
	l := &c.Listen
	for _, addrs := range []*[]string{&l.IMAPS, &l.IMAP, &l.Submissions, &l.Submission, &l.SMTP, &l.HTTPS, &l.HTTP, &l.TURN, &l.TURNS} {
		*addrs = slices.Clone(*addrs)
		for i, addr := range *addrs {
			if port, ok := strings.CutPrefix(addr, "[::]:"); ok {
				(*addrs)[i] = "0.0.0.0:" + port
			}
		}
	}
	return nil
}

// fromINI gives the configuration that means the same, and what became of each
// key. A value that cannot be here is said, and leaves our default.
func fromINI(ini *cmdeploy.INI, base *config.Config) (*config.Config, []ImportSetting) {
	known := theirs()
	wrong := map[string]string{} // by their key
	for {
		c := *base
		rows := applyINI(ini, known, &c, wrong)
		problems, ok := errors.AsType[*config.Errors](c.Check())
		if !ok {
			return &c, rows
		}
		before := len(wrong)
		for _, p := range problems.Problems {
			for _, k := range ini.Keys() {
				if slices.Contains(known[k.Name].ours, p.Key) || known[k.Name].apply != nil && slices.Contains(known[k.Name].ours, table(p.Key)) {
					wrong[k.Name] = p.Text
				}
			}
		}
		if len(wrong) == before {
			return &c, rows // what is wrong is not of the file; Check says it again
		}
	}
}

func table(key string) string { before, _, _ := strings.Cut(key, "."); return before }

// applyINI applies all keys but those in wrong, where it adds what cannot be
// read.
func applyINI(ini *cmdeploy.INI, known map[string]setting, c *config.Config, wrong map[string]string) []ImportSetting {
	var rows []ImportSetting
	for _, k := range ini.Keys() {
		row := ImportSetting{Key: k.Name, Value: k.Value, Line: k.Line}
		s, there := known[k.Name]
		switch {
		case !there:
			row.Note = "unknown to the reference, too"
		case s.apply == nil:
			row.Note = s.note
		case k.Value == "" && k.Name != "iroh_relay":
			row.Note = "not set"
		default:
			before := *c
			if wrong[k.Name] == "" {
				if err := s.apply(c, k.Value); err != nil {
					wrong[k.Name] = fmt.Sprintf("%q cannot be read", k.Value)
					*c = before
				}
			}
			if why := wrong[k.Name]; why != "" {
				row.Note = why + "; our default stands"
			} else {
				row.Ours, row.Note = s.ours, s.note
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// toINI gives the chatmail.ini of a relay that goes back to the reference.
func toINI(c *config.Config) string {
	var b strings.Builder
	row := func(key string, value any) { fmt.Fprintf(&b, "%s = %v\n", key, value) }
	day := func(d config.Duration) int64 { return max(1, int64(d)/int64(24*3600*1e9)) }
	b.WriteString("[params]\n")
	row("mail_domain", c.Domain)
	row("max_user_send_per_minute", c.Limits.MaxUserSendPerMinute)
	row("max_user_send_burst_size", c.Limits.MaxUserSendBurstSize)
	row("max_mailbox_size", fmt.Sprintf("%dM", max(1, int64(c.Limits.MaxMailboxSize)>>20)))
	row("max_message_size", int64(c.Limits.MaxMessageSize))
	for _, e := range []struct {
		key string
		d   config.Duration
	}{
		{"delete_mails_after", c.Expiry.DeleteMailsAfter}, {"delete_large_after", c.Expiry.DeleteLargeAfter},
		{"delete_inactive_users_after", c.Expiry.DeleteInactiveUsersAfter},
	} {
		if e.d == 0 { // never
			row(e.key, 36500)
		} else {
			row(e.key, day(e.d))
		}
	}
	row("username_min_length", c.Accounts.UsernameMinLength)
	row("username_max_length", c.Accounts.UsernameMaxLength)
	row("password_min_length", c.Accounts.PasswordMinLength)
	row("max_load_1m", c.Limits.MaxLoad1m)
	row("min_available_memory", fmt.Sprintf("%dM", int64(c.Limits.MinAvailableMemory)>>20))
	row("min_free_disk_space", fmt.Sprintf("%dM", int64(c.Limits.MinFreeDiskSpace)>>20))
	row("max_imap_connections", c.Limits.MaxIMAPConnections)
	row("max_smtp_connections", c.Limits.MaxSMTPConnections)
	row("imap_compress", c.IMAP.Compress)
	row("disable_ipv6", len(c.Listen.IMAPS) > 0 && !strings.HasPrefix(c.Listen.IMAPS[0], "["))
	if c.TLS.Mode == config.TLSFiles {
		row("tls_external_cert_and_key", c.TLS.Cert+" "+c.TLS.Key)
	}
	if c.ACME.Email != "" {
		row("acme_email", c.ACME.Email)
	}
	if !c.Iroh.Enabled || c.Iroh.URL != "" {
		row("iroh_relay", c.Iroh.URL)
	}
	if len(c.Listen.Metrics) > 0 {
		if host, _, err := net.SplitHostPort(c.Listen.Metrics[0]); err == nil {
			row("mtail_address", host)
		}
	}
	if c.Web.Dir != "" {
		row("www_folder", c.Web.Dir)
	}
	if c.Contact.Admin != "" {
		row("privacy_mail", c.Contact.Admin)
	}
	return b.String()
}
