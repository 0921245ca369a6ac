#!/bin/busybox sh
# First process of the guest of `cargo xtask gadget`: brings up a USB gadget (a keyboard and a serial line) on an emulated
# controller whose other end is this same kernel, and starts the checks. Lines that begin with `@` are read by the task.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev

echo "@step kernel $(uname -r) is up, inserting modules"
while read -r module; do
    case $module in
        # One webcam, and none of the tuners and outputs that this module can play as well.
        vivid.ko) parameters="n_devs=1 node_types=0x1 num_inputs=1 input_types=0" ;;
        *) parameters="" ;;
    esac
    # Not quoted: several words, or none.
    insmod "/modules/$module" $parameters || echo "@fail the module $module does not go in"
done < /modules/order
mount -t configfs none /sys/kernel/config

echo "@step making the gadget"
gadget=/sys/kernel/config/usb_gadget/selfsame
mkdir -p $gadget/strings/0x409 $gadget/configs/c.1/strings/0x409 $gadget/functions/hid.usb0 $gadget/functions/acm.usb0
echo 0x1d6b > $gadget/idVendor
echo 0x0104 > $gadget/idProduct
echo "Selfsame" > $gadget/strings/0x409/manufacturer
echo "Selfsame Scanner" > $gadget/strings/0x409/product
echo "keyboard and serial" > $gadget/configs/c.1/strings/0x409/configuration
echo 1 > $gadget/functions/hid.usb0/protocol
echo 1 > $gadget/functions/hid.usb0/subclass
echo 8 > $gadget/functions/hid.usb0/report_length
# The boot keyboard of the HID specification, appendix B.1.
printf '\x05\x01\x09\x06\xa1\x01\x05\x07\x19\xe0\x29\xe7\x15\x00\x25\x01\x75\x01\x95\x08\x81\x02\x95\x01\x75\x08\x81\x03\x95\x05\x75\x01\x05\x08\x19\x01\x29\x05\x91\x02\x95\x01\x75\x03\x91\x03\x95\x06\x75\x08\x15\x00\x25\x65\x05\x07\x19\x00\x29\x65\x81\x00\xc0' \
    > $gadget/functions/hid.usb0/report_desc
ln -s $gadget/functions/hid.usb0 $gadget/configs/c.1/
ln -s $gadget/functions/acm.usb0 $gadget/configs/c.1/

echo "@step starting the checks"
SELFSAME_GADGET=$gadget /guest
echo "@exit $?"
poweroff -f
