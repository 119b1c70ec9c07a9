# Writes structures made by chance: for each what `freeze` makes of it, what `nfreeze` makes of it, and as JSON what it
# is. Usage: perl structures.pl SEED COUNT
#
# The JSON has `null` for undef, {"a":[…]} for an array, {"h":{…}} for a hash, and a string for any other scalar: its
# bytes as Storable keeps them, in hexadecimal, unless all are ASCII; a colon; and its text. An object is
# {"class":…,"data":…}. A reference is what it refers to.

use strict;
use warnings;

use Encode ();
use Hash::Util qw(lock_hash lock_keys);
use JSON::PP ();
use Scalar::Util qw(blessed reftype weaken);
use Storable qw(freeze nfreeze);

my ($seed, $count) = @ARGV;
srand $seed;
binmode STDOUT;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# What may be shared with later parts of the same structure, and how many things the structure has so far.
my (@made, $things);

for (1 .. $count) {
    (@made, $things) = ();
    $things = 0;
    my $root = container(4);
    my $frozen  = freeze($root);
    my $nfrozen = nfreeze($root);
    print pack('N/a* N/a* N/a*', $frozen, $nfrozen, $json->encode(told($root)));
}

sub chance { rand() < $_[0] }
sub one_of { $_[rand @_] }

sub value {
    my ($depth) = @_;
    $things++;
    return reference($depth) if $depth > 0 && $things < 60 && chance(0.4);
    return scalar_value();
}

sub scalar_value {
    my $kind = int rand 12;
    return undef if $kind == 0;
    return int(rand 300) - 150 if $kind == 1;
    return int(rand 2**33) - 2**32 if $kind == 2;
    return one_of(0, -1, 127, 128, -128, -129, 2**31 - 1, 2**31, -2**31, -2**31 - 1, 2**32, 2**53, 2**53 + 1,
        9223372036854775807, -9223372036854775807 - 1, 18446744073709551615) if $kind == 3;
    return (rand() - 0.5) * 10**(int(rand 40) - 20) if $kind == 4;
    return one_of(1 / 3, 0.1 + 0.2, 1e15, 1e16, 1.5e300, -2.5e-300, 9**9**9, -9**9**9, 1e21, 0.0001, 0.00001) if $kind == 5;
    return chance(0.5) if $kind == 6;
    return one_of("1.50", "007", "0x10", "1e3", " 1", "0 but true", "Inf", "-0", v5.36.0, v1.2.333) if $kind == 7;
    return bytes(int rand 20) if $kind == 8;
    return text(one_of(3, 20, 100, 300)) if $kind == 9;
    return 'x' x int rand one_of(10, 300);
}

sub bytes { join '', map { chr rand 256 } 1 .. $_[0] }

sub text {
    my ($length) = @_;
    my $range = one_of(0x80, 0x100, 0x3000, 0x1ffff);
    my $text = join '', map {
        my $code = int rand $range;
        chr($code >= 0xd800 && $code < 0xe000 ? 0x263a : $code);
    } 0 .. rand $length;
    utf8::upgrade($text);
    return $text;
}

# A key whose text no other key shares, though its bytes be others.
sub key {
    my ($number) = @_;
    return $number . one_of('', 'k', 'key', bytes(int rand 5), text(4), "J\xf6rg", "\xc3\xa9", "\x{e9}\x{263a}", 'x' x 300);
}

sub reference {
    my ($depth) = @_;
    if (@made && chance(0.2)) {
        my $again = one_of(@made);
        $things += $again->[1];
        my $reference = $again->[0];
        return $reference;
    }
    return container($depth - 1);
}

sub container {
    my ($depth) = @_;
    my $before = $things;
    my $kind = int rand 8;
    my $made
        = $kind <= 2 ? array($depth)
        : $kind <= 5 ? hash($depth)
        : $kind == 6 ? \(my $value = value($depth))
        :              one_of(\scalar_value(), \!!1, \!!0, \undef, qr/a+b/, qr/\x{263a} \d/ix, qr/"/s, \\'deep');
    if (chance(0.2) && !blessed $made && reftype($made) =~ /^(?:ARRAY|HASH)$/) {
        bless $made, one_of('Foo', 'Foo::Bar', 'A' x 127, 'B' x 128, 'C' x 300);
    }
    if (chance(0.1) && reftype($made) eq 'HASH') {
        # A restricted hash, perhaps with keys it allows and does not have.
        my @allowed = chance(0.5) ? ('allowed', "allowed \x{263a}") : ();
        lock_keys(%$made, keys %$made, @allowed);
        lock_hash(%$made) if chance(0.5);
    }
    push @made, [$made, $things - $before + 1] unless $things > 60;
    return $made;
}

sub array {
    my ($depth) = @_;
    my @array;
    for my $number (0 .. int(rand 6) - 1) {
        # Now and then an element is missing, or Perl's own undef.
        my $at = chance(0.1) ? @array + 2 : @array;
        $array[$at] = value($depth);
    }
    return \@array;
}

sub hash {
    my ($depth) = @_;
    my %hash;
    for my $number (1 .. int rand 6) {
        $hash{ key($number) } = value($depth);
    }
    # A weak reference, to something that a strong one keeps.
    if (@made && chance(0.1)) {
        $hash{weak} = one_of(@made)->[0];
        weaken $hash{weak};
    }
    return \%hash;
}

# What the JSON says of a reference or another scalar.
sub told {
    my ($value) = @_;
    return undef unless defined $value;
    return string($value, 0) unless ref $value;

    my $type = reftype($value);
    return string("$value", 0) if $type eq 'REGEXP';
    my $data
        = $type eq 'ARRAY' ? { a => [map { told($value->[$_]) } 0 .. $#$value] }
        : $type eq 'HASH'  ? { h => { map { string($_, 1) => told($value->{$_}) } keys %$value } }
        :                    told($$value);
    return defined blessed $value ? { class => blessed $value, data => $data } : $data;
}

sub string {
    my ($string, $is_key) = @_;
    my ($text, $bytes) = ($string, $string);
    if (utf8::is_utf8($string)) {
        # Text. Storable has a key in Latin-1 where it can be.
        utf8::encode($bytes) unless $is_key && utf8::downgrade($bytes, 1);
    }
    else {
        # Bytes, which mean UTF-8 if they are, and Latin-1 if not.
        my $decoded = eval { Encode::decode('UTF-8', $string, Encode::FB_CROAK | Encode::LEAVE_SRC) };
        $text = $decoded if defined $decoded;
    }
    my $hex = $bytes =~ /[^\x00-\x7f]/ ? unpack('H*', $bytes) : '';
    return "$hex:$text";
}
